#!/usr/bin/env bash
# Makes a Docker Engine with `docker compose` v2 answer on a Debian machine (root), as the lab needs it.
# Does nothing that is already done. For other systems: https://docs.docker.com/engine/install/
set -euo pipefail

export DEBIAN_FRONTEND=noninteractive
missing=()
command -v dockerd >/dev/null || missing+=(docker.io iptables)
command -v iptables >/dev/null || missing+=(iptables)
command -v debootstrap >/dev/null || missing+=(debootstrap)
command -v make >/dev/null || missing+=(make)
if [ ${#missing[@]} -gt 0 ]; then
  echo "installing ${missing[*]}" >&2
  apt-get update -qq
  apt-get install -y -qq --no-install-recommends "${missing[@]}" >/dev/null
fi

if ! docker compose version >/dev/null 2>&1; then
  # Debian 12 has Compose v1 only; Debian 13's package holds v2 as one static binary, so take that file alone.
  echo "installing the docker compose plug-in" >&2
  work=$(mktemp -d)
  trap 'rm -rf "$work"' EXIT
  mkdir -p "$work/lists/partial" "$work/cache/archives/partial"
  mirror=$(apt-get indextargets --format '$(REPO_URI)' 'Created-By: Packages' | grep -m1 -E '/debian/?$')
  echo "deb [signed-by=/usr/share/keyrings/debian-archive-keyring.gpg] $mirror trixie main" >"$work/sources.list"
  own=(-o "Dir::Etc::sourcelist=$work/sources.list" -o Dir::Etc::sourceparts=/dev/null
       -o "Dir::State::lists=$work/lists" -o "Dir::Cache=$work/cache" -o APT::Sandbox::User=root)
  apt-get "${own[@]}" update -qq
  (cd "$work" && apt-get "${own[@]}" download -qq docker-compose)
  dpkg -x "$work"/docker-compose_*.deb "$work/x"
  install -D "$(find "$work/x" -type f -path '*cli-plugins*' -name docker-compose)" \
    /usr/libexec/docker/cli-plugins/docker-compose
  docker compose version >&2
fi

if ! docker info >/dev/null 2>&1; then
  echo "starting dockerd" >&2
  log=${DOCKERD_LOG:-/var/log/celery-triage-dockerd.log}
  setsid nohup dockerd >"$log" 2>&1 </dev/null &
  [ -z "${DOCKERD_PID_FILE:-}" ] || echo $! >"$DOCKERD_PID_FILE"
  for _ in $(seq 60); do
    docker info >/dev/null 2>&1 && break
    sleep 1
  done
  docker info >/dev/null 2>&1 || { echo "dockerd did not answer within 60 s:" >&2; tail -20 "$log" >&2; exit 1; }
fi
docker info --format 'Docker Engine {{.ServerVersion}}, {{.Driver}}, cgroup v{{.CgroupVersion}}' >&2
