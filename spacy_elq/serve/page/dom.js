// Elements, and requests to the service. Texts only ever become text nodes.

export const $ = (id) => document.getElementById(id);

/* An element with attributes and children: nodes or strings. */
export function make(tag, attributes = {}, ...children) {
  const element = document.createElement(tag);
  for (const [name, value] of Object.entries(attributes)) {
    if (name.startsWith("on")) element.addEventListener(name.slice(2), value);
    else if (name === "hue") { element.classList.add("hued"); element.style.setProperty("--hue", value); }
    else element.setAttribute(name, value);
  }
  element.append(...children.filter((child) => child !== null));
  return element;
}

/* Asks the service. Returns what it answers; throws an Error with its message. */
export async function ask(method, path, body = undefined, token = "") {
  const headers = body === undefined ? {} : { "Content-Type": "application/json" };
  if (token) headers.Authorization = `Bearer ${token}`;
  let response;
  try {
    response = await fetch(path, {
      method, headers, body: body === undefined ? undefined : JSON.stringify(body),
    });
  } catch {
    throw new Error("The service does not answer. Is it running?");
  }
  const answer = response.status === 204 ? null : await response.json().catch(() => null);
  if (!response.ok) throw new Error(answer?.message ?? `The service answers ${response.status}.`);
  return answer;
}

export function show(element, visible) { element.hidden = !visible; }

export function fail(error) {
  $("error").textContent = error ? error.message : "";
  show($("error"), Boolean(error));
}
