#!/usr/bin/env bash
# An S3 object store on this machine, to try things on and for the tests. No Docker, no systemd.
#
#   eval "$(cluster/object_store.sh start DIR)"   start, or find running; sets the variables that every S3 client reads
#   cluster/object_store.sh env DIR               print those variables again
#   cluster/object_store.sh stop DIR              stop; the data stays in DIR
#
# Which store: the one that S3_ENDPOINT or AWS_ENDPOINT_URL names already; else Ceph's RADOS Gateway where it is
# installed (Debian: apt-get install --no-install-recommends radosgw ceph-mon ceph-osd), with one file-backed OSD;
# else moto (pip install 'moto[server]'), which keeps data in memory and checks no keys: fine for a try, nothing more.
# DIR gets freshly drawn keys: choose a folder outside the repository.
set -euo pipefail
cmd=${1:?start|stop|env}
DIR=${2:?data folder}
PYTHON=${PYTHON:-python3}
mkdir -p "$DIR"
DIR=$(cd "$DIR" && pwd -P)
CONF=$DIR/ceph.conf
[[ $DIR != *[[:space:]\"\$]* ]] || { echo "object_store.sh: no blanks in the folder's path" >&2; exit 2; }

free_port() { "$PYTHON" - <<'PY'
import random
import socket

while True:  # below the ephemeral range, so that no client takes it between a stop and a start
    port = random.randrange(20000, 32000)
    with socket.socket() as probe:
        try:
            probe.bind(("127.0.0.1", port))
        except OSError:
            continue
    print(port)
    break
PY
}

alive() {  # daemon: by pid file and command line, since a pid may have been used again
  local pid
  pid=$(cat "$DIR/$1.pid" 2>/dev/null) || return 1
  [[ -n $pid && -r /proc/$pid/cmdline ]] && tr '\0' ' ' <"/proc/$pid/cmdline" | grep -qF -- "$2"
}

launch() {  # daemon mark command...
  local name=$1 mark=$2
  shift 2
  alive "$name" "$mark" && return 0
  setsid "$@" >>"$DIR/$name.out" 2>&1 </dev/null 9>&- &
  echo $! >"$DIR/$name.pid"
}

halt() {  # daemon mark
  local pid i
  alive "$1" "$2" || { rm -f "$DIR/$1.pid"; return 0; }
  pid=$(cat "$DIR/$1.pid")
  kill "$pid" 2>/dev/null || :
  for ((i = 0; i < 100; i++)); do alive "$1" "$2" || break; sleep 0.1; done
  if alive "$1" "$2"; then kill -KILL "$pid" || :; fi
  rm -f "$DIR/$1.pid"
}

wait_for() {  # what daemon mark command...
  local what=$1 name=$2 mark=$3 end=$((SECONDS + 60))
  shift 3
  until "$@" >/dev/null 2>&1; do
    sleep 0.2 # a daemon that was just launched is still this script by name
    if ! alive "$name" "$mark" || ((SECONDS > end)); then
      echo "object_store.sh: no $what; the end of $DIR/$name.out:" >&2
      tail -n 15 "$DIR/$name.out" >&2 || :
      return 1
    fi
  done
}

http_up() { ( { exec 3<>"/dev/tcp/127.0.0.1/$1"; } 2>/dev/null &&
  printf 'GET / HTTP/1.1\r\nHost: x\r\nConnection: close\r\n\r\n' >&3 && read -r -t 5 line <&3 && [[ $line == *" 200 "* ]] ) }

write_env() {  # port
  (umask 077; cat >"$DIR/env" <<ENV
export S3_ENDPOINT=http://127.0.0.1:$1
export AWS_ENDPOINT_URL=http://127.0.0.1:$1
export AWS_REGION=us-east-1
export AWS_DEFAULT_REGION=us-east-1
export AWS_REQUEST_CHECKSUM_CALCULATION=when_required
export AWS_RESPONSE_CHECKSUM_VALIDATION=when_required
$(cat "$DIR/keys")
ENV
  )
}

draw_keys() {
  (umask 077; cat >"$DIR/keys" <<ENV
export AWS_ACCESS_KEY_ID=AK$(od -An -N8 -tx1 /dev/urandom | tr -d ' \n' | tr a-f A-F)
export AWS_SECRET_ACCESS_KEY=$(od -An -N20 -tx1 /dev/urandom | tr -d ' \n')
ENV
  )
}

# --- Ceph: one monitor, one OSD on a sparse file, the RADOS Gateway ---

CEPH() { timeout 30 ceph -c "$CONF" --connect-timeout 5 "$@"; }
stop_ceph() { local name; for name in rgw osd mon; do halt $name "-c $CONF"; done; }
osd_up() { CEPH osd stat | grep -q '1 up'; }

make_ceph() {
  local fsid monitor gateway
  stop_ceph # what an interrupted first start left
  rm -rf "$DIR"/{mon,osd,monmap}
  monitor=$(free_port) gateway=$(free_port) fsid=$(cat /proc/sys/kernel/random/uuid)
  cat >"$CONF" <<CONFIG
[global]
fsid = $fsid
mon host = [v2:127.0.0.1:$monitor/0]
public addr = 127.0.0.1
cluster addr = 127.0.0.1
ms bind msgr1 = false
auth cluster required = none
auth service required = none
auth client required = none
run dir = $DIR
crash dir = $DIR
admin socket =
log file = $DIR/\$type.log
mon cluster log file = $DIR/cluster.log
osd crush chooseleaf type = 0
osd pool default size = 1
osd pool default min size = 1
osd pool default pg num = 4
osd pool default pgp num = 4
osd pool default pg autoscale mode = off
mon allow pool size one = true
mon max pg per osd = 1000
[mon.a]
mon data = $DIR/mon
mon data avail warn = 1
mon data avail crit = 1
paxos propose interval = 0.05
paxos min wait = 0.02
[osd]
osd data = $DIR/osd
osd objectstore = bluestore
bluestore block size = 21474836480
bluestore block wal size = 0
bluestore block db size = 0
bluestore cache autotune = false
bluestore cache size = 134217728
osd client watch timeout = 4
[client.rgw]
log file = $DIR/rgw.log
rgw data = $DIR
rgw frontends = beast endpoint=127.0.0.1:$gateway
rgw thread pool size = 64
# By default a completion that a crash cut off blocks its retries for ten minutes.
rgw mp lock max time = 5
# The gateway's own default is "secure", which needs cephx.
ms mon client mode = crc
CONFIG
  monmaptool --create --fsid "$fsid" --addv a "[v2:127.0.0.1:$monitor/0]" "$DIR/monmap" >"$DIR/mkfs.out" 2>&1
  ceph-mon --mkfs -i a -c "$CONF" --monmap "$DIR/monmap" >>"$DIR/mkfs.out" 2>&1
}

make_osd() {
  cat /proc/sys/kernel/random/uuid >"$DIR/osd.uuid"
  mkdir -p "$DIR/osd"
  CEPH osd new "$(cat "$DIR/osd.uuid")" 0 >/dev/null
  ceph-osd -i 0 -c "$CONF" --mkfs --osd-uuid "$(cat "$DIR/osd.uuid")" >>"$DIR/mkfs.out" 2>&1
}

start_ceph() {
  local port mark="-c $CONF"
  [[ -e $DIR/ready ]] || make_ceph
  port=$(sed -n 's/.*beast endpoint=127.0.0.1://p' "$CONF")
  launch mon "$mark" ceph-mon -i a -f -c "$CONF"
  wait_for "monitor" mon "$mark" CEPH quorum_status
  [[ -e $DIR/ready ]] || make_osd
  # After a crash the map still says up, at an address where nobody is.
  alive osd "$mark" || CEPH osd down 0 >/dev/null 2>&1 || :
  launch osd "$mark" ceph-osd -i 0 -f -c "$CONF"
  wait_for "OSD" osd "$mark" osd_up
  launch rgw "$mark" radosgw -n client.rgw -f -c "$CONF"
  wait_for "S3 answer" rgw "$mark" http_up "$port"
  if [[ ! -e $DIR/ready ]]; then
    # shellcheck disable=SC1091
    . "$DIR/keys"
    (umask 077; radosgw-admin -c "$CONF" -n client.rgw user create --uid=local --display-name=local \
      --access-key="$AWS_ACCESS_KEY_ID" --secret-key="$AWS_SECRET_ACCESS_KEY" >/dev/null 2>>"$DIR/mkfs.out")
  fi
  write_env "$port"
}

start_moto() {
  local port
  port=$(cat "$DIR/port" 2>/dev/null || free_port)
  echo "$port" >"$DIR/port"
  launch moto "moto.server" "$PYTHON" -m moto.server -H 127.0.0.1 -p "$port"
  wait_for "S3 answer" moto "moto.server" http_up "$port"
  write_env "$port"
}

start() {
  local named=${S3_ENDPOINT:-${AWS_ENDPOINT_URL:-}}
  if [[ -n $named && ! -e $DIR/keys ]]; then
    printf 'export S3_ENDPOINT=%q\nexport AWS_ENDPOINT_URL=%q\n' "$named" "$named" >"$DIR/env"
    return
  fi
  [[ -e $DIR/keys ]] || draw_keys
  if command -v radosgw >/dev/null && command -v ceph-osd >/dev/null; then start_ceph
  elif "$PYTHON" -c "import moto.server" 2>/dev/null; then start_moto
  else
    echo "object_store.sh: neither radosgw nor moto is installed; name an S3 with AWS_ENDPOINT_URL, or install one" >&2
    exit 1
  fi
  touch "$DIR/ready"
}

stop() {
  stop_ceph
  halt moto "moto.server"
}

exec 9>"$DIR/lock"
flock -w 180 9
case $cmd in
start)
  trap '[[ $? -eq 0 ]] || stop' EXIT # nothing is left running after a start that failed
  start
  cat "$DIR/env"
  ;;
stop) stop ;;
env) cat "$DIR/env" ;;
*) echo "start|stop|env" >&2; exit 2 ;;
esac
