// Which of overlapping mentions stay, and where they are: pure functions.

/* Greedy, as `overlapped` in annotate.py: keep each range that overlaps none kept before it.
   ranges: [start, end) pairs, the most preferred first.
   Returns the positions of those that are kept. */
export function withoutOverlaps(ranges) {
  const kept = [];
  ranges.forEach(([start, end], i) => {
    const free = kept.every((k) => end <= ranges[k][0] || ranges[k][1] <= start);
    if (free) kept.push(i);
  });
  return kept;
}

/* The links of a text under a threshold, in the order of the text.
   considered: all mentions, the best first. */
export function linksAbove(considered, threshold) {
  const above = considered.filter((link) => link.score > threshold);
  const kept = withoutOverlaps(above.map((link) => link.tokens)).map((i) => above[i]);
  return kept.sort((a, b) => a.start - b.start);
}

/* Offsets of Python count code points, those of JavaScript UTF-16 units.
   Returns a function from the first to the second. */
export function unitOffsets(text) {
  if (!/[\ud800-\udbff]/.test(text)) return (offset) => offset;
  const offsets = [0];
  for (const char of text) offsets.push(offsets[offsets.length - 1] + char.length);
  return (offset) => offsets[offset];
}

/* The parts of a text: [piece, link or null], in order. */
export function pieces(text, links) {
  const at = unitOffsets(text);
  const result = [];
  let end = 0;
  for (const link of links) {
    if (at(link.start) > end) result.push([text.slice(end, at(link.start)), null]);
    result.push([text.slice(at(link.start), at(link.end)), link]);
    end = at(link.end);
  }
  if (end < text.length) result.push([text.slice(end), null]);
  return result;
}

/* A hue for a type, the same everywhere. */
export function hueOf(type) {
  let hash = 7;
  for (const char of type) hash = (hash * 31 + char.codePointAt(0)) % 360_007;
  return Math.round((hash * 137.508) % 360);
}
