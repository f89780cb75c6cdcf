# A private Galera cluster of MariaDB servers for tests, beside tests/mariadb.sh, which is sourced first.

galera_provider() {
    local provider
    for provider in /usr/lib/galera/libgalera_smm.so /usr/lib64/galera/libgalera_smm.so /usr/lib64/galera-4/libgalera_smm.so; do
        if [ -f "$provider" ]; then echo "$provider"; return; fi
    done
    return 1
}

# Installs Debian's galera-4 if it is missing. Fails if there is no Galera then.
galera_install() {
    galera_provider >/dev/null && return
    local apt=(apt-get)
    if [ "$(id -u)" -ne 0 ]; then apt=(sudo -n apt-get); fi
    if command -v apt-get >/dev/null && "${apt[@]}" --version >/dev/null 2>&1; then
        echo "Galera is missing; installing Debian's galera-4" >&2
        DEBIAN_FRONTEND=noninteractive "${apt[@]}" install -y --no-install-recommends galera-4 >&2 || true
    fi
    galera_provider >/dev/null
}

# A state transfer without copying, since all nodes start with equal data: the donor passes on the position in a file.
galera_write_transfer() {
    mkdir -p "$MARIADB_DIR/bin"
    cat >"$MARIADB_DIR/bin/wsrep_sst_equal" <<'SCRIPT'
#!/usr/bin/env bash
set -eu
while [ $# -gt 0 ]; do
    case $1 in
        --role) role=$2 ;;
        --address) address=$2 ;;
        --datadir) data=$2 ;;
        --gtid) position=$2 ;;
        --parent) server=$2 ;;
    esac
    shift
done
if [ "$role" = donor ]; then
    file=/${address#*/}
    echo "$position" >"$file.new"
    mv "$file.new" "$file"
    echo "done $position"
else
    file=${data%/}/position
    rm -f "$file"
    echo "ready 127.0.0.1$file"
    until [ -f "$file" ]; do kill -0 "$server"; sleep 0.1; done
    cat "$file"
fi
SCRIPT
    chmod +x "$MARIADB_DIR/bin/wsrep_sst_equal"
    PATH="$MARIADB_DIR/bin:$PATH"
}

# galera_node N ADDRESS: begins to start the node N, which joins the nodes of an address.
galera_node() {
    local port=$((GALERA_BASE + 10 * $1))
    local provider="base_port=$port;gmcast.listen_addr=tcp://127.0.0.1:$port;gcache.size=32M"
    mariadb_launch "node$1" --innodb-buffer-pool-size=16M --innodb-log-file-size=4M --key-buffer-size=1M \
        --binlog-format=ROW --innodb-autoinc-lock-mode=2 --wsrep-on=ON --wsrep-provider="$(galera_provider)" \
        --wsrep-cluster-address="$2" --wsrep-node-address="127.0.0.1:$port" --wsrep-node-name="node$1" \
        --wsrep-sst-method=equal \
        --wsrep-provider-options="$provider;evs.keepalive_period=PT0.5S;evs.suspect_timeout=PT2S;evs.inactive_timeout=PT5S"
    mariadb_ready "node$1"
}

# galera_choose_ports COUNT: sets GALERA_BASE, below the ports that the system gives to connections, so that the ports of
# all nodes are free.
galera_choose_ports() {
    local n is_free
    while :; do
        GALERA_BASE=$((10000 + RANDOM % 9000))
        is_free=1
        for n in $(seq 0 $((10 * $1))); do
            if (exec 3<>"/dev/tcp/127.0.0.1/$((GALERA_BASE + n))") 2>/dev/null; then is_free=; fi
        done
        if [ -n "$is_free" ]; then return; fi
    done
}

# galera_start COUNT: starts a cluster of COUNT nodes, named node0, node1 and so on.
galera_start() {
    local n nodes=""
    mariadb_prepare
    # The users are created on each node by itself, so that all have equal data.
    sed -i '1i SET SESSION wsrep_on = OFF;' "$MARIADB_DIR/init.sql"
    galera_write_transfer
    galera_choose_ports "$1"
    # The first node's data, once they hold the cluster's position, are the data of all nodes.
    galera_node 0 gcomm://
    mariadb_end node0
    rm -f "$MARIADB_DIR"/node0/data/galera.cache "$MARIADB_DIR"/node0/data/gvwstate.dat "$MARIADB_DIR/node0/log"
    for n in $(seq 0 $(($1 - 1))); do
        nodes+=",127.0.0.1:$((GALERA_BASE + 10 * n))"
        if [ "$n" -gt 0 ]; then
            mkdir "$MARIADB_DIR/node$n"
            cp -r "$MARIADB_DIR/node0/data" "$MARIADB_DIR/node$n/data"
        fi
    done
    galera_node 0 gcomm://
    for n in $(seq $(($1 - 1))); do galera_node "$n" "gcomm://${nodes#,}"; done
}
