# A private MySQL server without TLS for tests: on a temporary directory, a free port and a socket of its own. To be sourced.
#
# Debian has no mysqld in its stable releases. The server comes from PACS_INDEX_TEST_MYSQL_ROOT (a directory with
# usr/sbin/mysqld, which is run in a chroot), from the PATH, or from the cache, which `tests/run --long` fills as root
# with Debian's debootstrap.

MYSQL_DIR="" MYSQL_PID=""
MYSQL_CHROOT=()
MYSQL_PREFIX=""

# Sets MYSQL_PREFIX, the directory that the server takes for /, and MYSQL_CHROOT, the command that enters that directory.
mysql_find() {
    local cache="${XDG_CACHE_HOME:-${HOME:-/tmp}/.cache}/pacs-index/mysql-sid"
    local root="${PACS_INDEX_TEST_MYSQL_ROOT:-}"
    if [ -z "$root" ] && PATH="$PATH:/usr/sbin" mysqld --version 2>/dev/null | grep -qv MariaDB; then
        MYSQL_CHROOT=(env "PATH=$PATH:/usr/sbin")
        return
    fi
    if [ -z "$root" ] && [ ! -e "$cache/usr/sbin/mysqld" ] && [ -n "${PACS_INDEX_TEST_LONG:-}" ] && [ "$(id -u)" -eq 0 ] &&
        command -v debootstrap >/dev/null; then
        echo "Unpacking Debian's mysql-server-core into $cache" >&2
        rm -rf "$cache.new"
        mkdir -p "$cache.new"
        debootstrap --variant=minbase --include=mysql-server-core,libmecab2 sid "$cache.new" >"$cache.log" 2>&1 &&
            mv "$cache.new" "$cache" || tail -3 "$cache.log" >&2
    fi
    root="${root:-$cache}"
    [ -e "$root/usr/sbin/mysqld" ] && [ "$(id -u)" -eq 0 ] || return 1
    MYSQL_CHROOT=(chroot "$root")
    MYSQL_PREFIX=$root
}

# mysql_launch: begins to start the server, if there is one; user pacs, password pacs-test.
mysql_launch() {
    mysql_find || return 1
    mkdir -p "$MYSQL_PREFIX/tmp"
    MYSQL_DIR=$(mktemp -d "$MYSQL_PREFIX/tmp/pacs-index-mysql.XXXXXX")
    local inside="${MYSQL_DIR#"$MYSQL_PREFIX"}"
    cat >"$MYSQL_DIR/init.sql" <<SQL
CREATE USER IF NOT EXISTS 'pacs'@'%' IDENTIFIED WITH caching_sha2_password BY 'pacs-test';
GRANT ALL ON *.* TO 'pacs'@'%' WITH GRANT OPTION;
SQL
    MYSQL_PORT=$((20000 + (RANDOM % 20000)))
    MYSQL_SOCKET="$MYSQL_DIR/socket"
    local common=(--no-defaults --user="$(id -un)" --datadir="$inside/data")
    (
        "${MYSQL_CHROOT[@]}" mysqld "${common[@]}" --initialize-insecure
        exec "${MYSQL_CHROOT[@]}" mysqld "${common[@]}" --socket="$inside/socket" --port="$MYSQL_PORT" \
            --bind-address=127.0.0.1 --mysqlx=OFF --secure-file-priv=NULL --tls-version= --skip-log-bin \
            --innodb-buffer-pool-size=64M --pid-file="$inside/pid" --init-file="$inside/init.sql"
    ) >"$MYSQL_DIR/log" 2>&1 &
    MYSQL_PID=$!
}

# Waits until the server that was launched takes connections, on another port if its own was taken.
mysql_ready() {
    local try tenth
    for try in 1 2 3; do
        for tenth in $(seq 1800); do
            grep -qs "ready for connections.* port: $MYSQL_PORT" "$MYSQL_DIR/log" && return
            kill -0 "$MYSQL_PID" 2>/dev/null || break
            sleep 0.1
        done
        if [ "$try" != 3 ]; then
            mysql_stop
            mysql_launch || return 1
        fi
    done
    echo "MySQL does not start:" >&2
    tail -20 "$MYSQL_DIR/log" >&2
    return 1
}

mysql_stop() {
    if [ -n "$MYSQL_PID" ]; then
        kill "$MYSQL_PID" 2>/dev/null || true
        wait "$MYSQL_PID" 2>/dev/null || true
        MYSQL_PID=""
    fi
    if [ -n "$MYSQL_DIR" ]; then rm -rf "$MYSQL_DIR"; MYSQL_DIR=""; fi
}
