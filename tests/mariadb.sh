# Private MariaDB servers for tests and benchmarks: on a temporary directory, each on a free port, a socket and data of
# its own, stopped and removed at the end. To be sourced. Never touches a server that it did not start.

MARIADB_DIR=""
declare -A MARIADB_PIDS=() MARIADB_PORTS=() MARIADB_OPTIONS=()

mariadb_find() {
    PATH="$PATH:/usr/sbin:/usr/local/sbin"
    command -v mariadbd >/dev/null && command -v mariadb-install-db >/dev/null && command -v my_print_defaults >/dev/null
}

# Debian's core packages are the programs without a service that would start by itself.
mariadb_install() {
    mariadb_find && return
    local apt=(apt-get)
    if [ "$(id -u)" -ne 0 ]; then apt=(sudo -n apt-get); fi
    if command -v apt-get >/dev/null && "${apt[@]}" --version >/dev/null 2>&1; then
        echo "MariaDB is missing; installing Debian's mariadb-server-core and mariadb-client-core" >&2
        { "${apt[@]}" update && DEBIAN_FRONTEND=noninteractive "${apt[@]}" install -y --no-install-recommends mariadb-server-core mariadb-client-core; } >&2 || true
    fi
    mariadb_find && return
    echo "The tests need MariaDB's programs mariadbd, mariadb-install-db and my_print_defaults, and they cannot be installed here." >&2
    echo "Install them (Debian, Ubuntu: apt-get install mariadb-server-core mariadb-client-core; Fedora: dnf install mariadb-server) and run this again." >&2
    return 1
}

# Makes the data directory that all servers begin with; user pacs, password pacs-test.
mariadb_prepare() {
    if [ -n "$MARIADB_DIR" ]; then return; fi
    mariadb_install || return 1
    MARIADB_DIR=$(mktemp -d "${TMPDIR:-/tmp}/pacs-index-mariadb.XXXXXX")
    mkdir "$MARIADB_DIR/tmp"
    mariadb-install-db --no-defaults --user="$(id -un)" --datadir="$MARIADB_DIR/empty" --tmpdir="$MARIADB_DIR/tmp" \
        --auth-root-authentication-method=normal --skip-test-db --innodb-log-file-size=4M >"$MARIADB_DIR/install.log" 2>&1 ||
        { cat "$MARIADB_DIR/install.log" >&2; return 1; }
    cat >"$MARIADB_DIR/init.sql" <<SQL
CREATE USER IF NOT EXISTS 'pacs'@'%' IDENTIFIED BY 'pacs-test';
GRANT ALL ON *.* TO 'pacs'@'%' WITH GRANT OPTION;
SQL
}

# mariadb_launch NAME [OPTION...]: begins to start a server. Several start side by side.
mariadb_launch() {
    mariadb_prepare || return 1
    local name=$1; shift
    MARIADB_OPTIONS[$name]="$*"
    # A server that starts removes all temporary tables in its directory for them, those of other servers included.
    mkdir -p "$MARIADB_DIR/$name/tmp"
    if [ ! -d "$MARIADB_DIR/$name/data" ]; then cp -r "$MARIADB_DIR/empty" "$MARIADB_DIR/$name/data"; fi
    MARIADB_PORTS[$name]=$((20000 + (RANDOM % 20000)))
    mariadbd --no-defaults --user="$(id -un)" --datadir="$MARIADB_DIR/$name/data" --socket="$MARIADB_DIR/$name/socket" \
        --tmpdir="$MARIADB_DIR/$name/tmp" --port="${MARIADB_PORTS[$name]}" --bind-address=127.0.0.1 --pid-file="$MARIADB_DIR/$name/pid" \
        --init-file="$MARIADB_DIR/init.sql" "$@" >"$MARIADB_DIR/$name/log" 2>&1 &
    MARIADB_PIDS[$name]=$!
}

# mariadb_ready NAME: waits until a server that was launched takes connections, on another port if its own was taken.
mariadb_ready() {
    local name=$1 try tenth
    for try in 1 2 3 4 5 6 7 8; do
        for tenth in $(seq 600); do
            grep -qs "ready for connections" "$MARIADB_DIR/$name/log" && return
            kill -0 "${MARIADB_PIDS[$name]}" 2>/dev/null || break
            sleep 0.1
        done
        mariadb_end "$name"
        # shellcheck disable=SC2086 # options hold no blanks
        mariadb_launch "$name" ${MARIADB_OPTIONS[$name]}
    done
    echo "MariaDB does not start:" >&2
    cat "$MARIADB_DIR/$name/log" >&2
    return 1
}

# mariadb_start [OPTION...]: one server. Sets MARIADB_PORT and MARIADB_SOCKET.
mariadb_start() {
    mariadb_launch main "$@" && mariadb_ready main || return 1
    MARIADB_PORT=${MARIADB_PORTS[main]}
    MARIADB_SOCKET="$MARIADB_DIR/main/socket"
}

mariadb_end() {
    kill "${MARIADB_PIDS[$1]}" 2>/dev/null || true
    wait "${MARIADB_PIDS[$1]}" 2>/dev/null || true
}

# Stops all of them.
mariadb_stop() {
    local name
    if [ ${#MARIADB_PIDS[@]} -gt 0 ]; then
        kill "${MARIADB_PIDS[@]}" 2>/dev/null || true
        for name in "${!MARIADB_PIDS[@]}"; do mariadb_end "$name"; done
        MARIADB_PIDS=()
    fi
    if [ -n "$MARIADB_DIR" ]; then rm -rf "$MARIADB_DIR"; MARIADB_DIR=""; fi
}
