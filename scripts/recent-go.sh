# Find a Go that is recent enough: to be sourced by the scripts that build what the tests talk to.
#
# The caller sets `needed_go` (the go line in its modules) and defines `say`.
toolchain=1.26.0 # fetched as a Go module where the installed Go is older

find_go() {
  local candidate
  for candidate in "$(command -v go || true)" /usr/local/go/bin/go /usr/lib/go/bin/go; do
    if [ -n "$candidate" ] && "$candidate" version >/dev/null 2>&1; then
      echo "$candidate"
      return
    fi
  done
  say "no Go found: install it (apt-get install golang-go)"
  return 1
}

at_least() { [ "$(printf '%s\n%s\n' "$1" "$2" | sort -V | head -n 1)" = "$1" ]; }

# A Go older than the modules need is only good for fetching a newer one, which is itself a Go module.
recent_go() {
  local go=$1 have arch fetched
  have=$("$go" env GOVERSION 2>/dev/null | sed 's/^go//;s/[ -].*//')
  if at_least "$needed_go" "${have:-0}"; then
    echo "$go"
    return
  fi
  arch=$("$go" env GOARCH)
  say "Go $have is older than $needed_go: fetching Go $toolchain as a module"
  "$go" mod download "golang.org/toolchain@v0.0.1-go$toolchain.linux-$arch" >&2
  fetched=$("$go" env GOMODCACHE)/golang.org/toolchain@v0.0.1-go$toolchain.linux-$arch
  if [ ! -x "$fetched/bin/go" ]; then # an older Go leaves out the rights to execute
    chmod -R u+w "$fetched"
    chmod u+x "$fetched"/bin/* "$fetched"/pkg/tool/*/*
  fi
  echo "$fetched/bin/go"
}
