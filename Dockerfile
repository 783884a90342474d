# The tool as an image, for scheduled checks beside a stack: see "Scheduled checks" in README.md.
#
#   docker build -t celery-triage .
#
# BASE is any image with Python 3.11 or later and pip. PIP_ARGS are further arguments of pip; wheels in a folder
# `wheels` beside this file are found with "--no-index --find-links /opt/celery-triage/wheels".
ARG BASE=python:3.13-slim
FROM ${BASE}
ARG PIP_ARGS=""

# A lock file with wheels that may not be there: COPY takes a pattern that matches at least one file.
COPY requirements.lock wheel[s] /opt/celery-triage/wheels/
COPY pyproject.toml README.md /opt/celery-triage/
COPY lib /opt/celery-triage/lib
COPY runbooks /opt/celery-triage/runbooks

# Without the extras: no JupyterLab, no tests. The lock file only says which versions.
RUN cd /opt/celery-triage \
 && pip install --break-system-packages --root-user-action=ignore --no-cache-dir --disable-pip-version-check --quiet \
      ${PIP_ARGS} --constraint wheels/requirements.lock --editable . \
 && rm -rf wheels \
 && python3 -m compileall -q lib \
 && mkdir /reports

# A user of its own; the group of the Docker socket comes with `docker run --group-add`. The reports belong to it.
RUN useradd --system --uid 10001 --home-dir /reports triage && chown triage /reports
USER triage
WORKDIR /reports
VOLUME /reports
ENTRYPOINT ["celery-triage"]
CMD ["run", "--scheduled", "--reports", "/reports"]
