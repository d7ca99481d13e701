# The image with the extra `model`, which runs a site's own model (docs/proposals.md). The image itself has no pip: the
# packages are fetched in a stage of their own and laid beside the others.
ARG BASE=debian:12.15-slim
ARG AXRAD=axrad:0.1.0

FROM ${BASE} AS packages
RUN apt-get update && apt-get install -y --no-install-recommends ca-certificates python3-pip
COPY script/pins/model.txt /model.txt
RUN --mount=type=secret,id=pip.conf,target=/etc/pip.conf --mount=type=secret,id=ca,target=/run/secrets/ca.pem \
    if [ -e /run/secrets/ca.pem ]; then export PIP_CERT=/run/secrets/ca.pem; fi; \
    python3 -m pip install --no-cache-dir --require-hashes --no-deps --target /packages --requirement /model.txt

FROM ${AXRAD}
COPY --from=packages /packages /opt/axrad/lib/python3.11/site-packages
