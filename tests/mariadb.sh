# A private MariaDB for tests and benchmarks: on a temporary directory, a free port and a socket of its own, stopped
# and removed at the end. To be sourced. Never touches a server that it did not start.

MARIADB_DIR=""
MARIADB_PID=""

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

# Starts the server. Sets MARIADB_PORT and MARIADB_SOCKET; user pacs, password pacs-test.
mariadb_start() {
    mariadb_install || return 1
    MARIADB_DIR=$(mktemp -d "${TMPDIR:-/tmp}/pacs-index-mariadb.XXXXXX")
    local user; user=$(id -un)
    mariadb-install-db --no-defaults --user="$user" --datadir="$MARIADB_DIR/data" --auth-root-authentication-method=normal \
        --skip-test-db >"$MARIADB_DIR/install.log" 2>&1 || { cat "$MARIADB_DIR/install.log" >&2; return 1; }
    cat >"$MARIADB_DIR/init.sql" <<SQL
CREATE USER IF NOT EXISTS 'pacs'@'%' IDENTIFIED BY 'pacs-test';
GRANT ALL ON *.* TO 'pacs'@'%';
SQL
    MARIADB_SOCKET="$MARIADB_DIR/socket"
    local try
    for try in 1 2 3 4 5 6 7 8; do
        MARIADB_PORT=$((20000 + (RANDOM % 20000)))
        mariadbd --no-defaults --user="$user" --datadir="$MARIADB_DIR/data" --socket="$MARIADB_SOCKET" --port="$MARIADB_PORT" \
            --bind-address=127.0.0.1 --pid-file="$MARIADB_DIR/pid" --init-file="$MARIADB_DIR/init.sql" "$@" \
            >"$MARIADB_DIR/log" 2>&1 &
        MARIADB_PID=$!
        local tenth
        for tenth in $(seq 600); do
            grep -q "ready for connections" "$MARIADB_DIR/log" && return
            kill -0 "$MARIADB_PID" 2>/dev/null || break
            sleep 0.1
        done
        wait "$MARIADB_PID" 2>/dev/null || true
    done
    echo "MariaDB does not start:" >&2
    cat "$MARIADB_DIR/log" >&2
    return 1
}

mariadb_stop() {
    if [ -n "$MARIADB_PID" ]; then
        kill "$MARIADB_PID" 2>/dev/null || true
        wait "$MARIADB_PID" 2>/dev/null || true
        MARIADB_PID=""
    fi
    if [ -n "$MARIADB_DIR" ]; then rm -rf "$MARIADB_DIR"; MARIADB_DIR=""; fi
}
