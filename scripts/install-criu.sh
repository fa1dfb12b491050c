#!/bin/sh
# Installs CRIU for the tests, the lab and the agent's image: Debian's newest build with every library that it needs,
# in a folder of its own, started through its own loader. Nothing of the system is touched, so it works on any
# distribution whose apt can read a Debian mirror, whatever its own glibc is.
#
# Why not the distribution's package: bookworm's 3.17 and trixie's 4.1 fail on kernel 6.18 (vDSO; SO_PASSCRED on TCP
# sockets), sid's 4.2.1 works.
#
#   scripts/install-criu.sh            installs when needed; prints the path of the `criu` to start
#   SERVAL_DEBIAN_MIRROR=URI           a Debian mirror, where the machine's own apt sources name none
#   SERVAL_CRIU_NO_CHECK=1             leave out `criu check` (an image build: another kernel, no privileges)
#   XDG_CACHE_HOME                     where it goes: $XDG_CACHE_HOME/serval/criu-VERSION (default ~/.cache)
#
# Measured: 10 s (an 11 MB package list, 26 packages), 0.07 s when it is there already; 17 MB on disk.
set -eu

WANTED=4.2
BASE="${XDG_CACHE_HOME:-$HOME/.cache}/serval"
CURRENT="$BASE/criu"

say() { printf 'install-criu: %s\n' "$*" >&2; }
fail() {
  printf 'install-criu: %s.\n  Remedy: %s.\n' "$1" "$2" >&2
  exit 1
}

# `criu check` loads every feature test of the kernel: the one answer that counts.
check() {
  [ -z "${SERVAL_CRIU_NO_CHECK:-}" ] || return 0
  litter=/run/criu.kdat.tmp # left by CRIU itself where /run is no tmpfs
  [ ! -e "$litter" ] || litter=""
  answer=$("$1" check 2>&1) && ok=yes || ok=no
  [ -z "$litter" ] || rm -f "$litter"
  if [ "$ok" = no ]; then
    printf '%s\n' "$answer" | tail -n 8 >&2
    fail "criu check says no: the kernel ($(uname -r)) or this container lacks something that CRIU needs" \
      "read the lines above; CRIU needs CONFIG_CHECKPOINT_RESTORE, CAP_SYS_ADMIN, CAP_SYS_PTRACE and CAP_NET_ADMIN"
  fi
}

# Before anything is fetched: only root can check it, and only root can use it.
[ -n "${SERVAL_CRIU_NO_CHECK:-}" ] || [ "$(id -u)" = 0 ] || fail "can not check CRIU: not root" \
  "run this as root, or set SERVAL_CRIU_NO_CHECK=1 to install only"

# Quiet when it is there already.
if [ -x "$CURRENT/criu" ]; then
  check "$CURRENT/criu"
  printf '%s\n' "$CURRENT/criu"
  exit 0
fi

for tool in apt-get apt-cache dpkg dpkg-deb; do
  command -v "$tool" >/dev/null || fail "$tool is missing: this is no Debian or Ubuntu" \
    "build CRIU $WANTED or later from source and name it in SERVAL_CRIU"
done

# The machine's own mirror, as its apt knows it: sources of any format, proxies and credentials included.
# A third party's repository has a release name of its own, the security archive has no sid.
mirror() {
  if [ -n "${SERVAL_DEBIAN_MIRROR:-}" ]; then
    printf '%s\n' "$SERVAL_DEBIAN_MIRROR"
    return
  fi
  codename=$(. /etc/os-release && printf '%s' "${VERSION_CODENAME:-}")
  apt-get indextargets --format '$(RELEASE) $(REPO_URI)' 'Created-By: Packages' 2>/dev/null |
    while read -r release uri; do
      case "$release" in "$codename" | sid | unstable) printf '%s\n' "$uri" && break ;; esac
    done
}

MIRROR=$(mirror)
[ -n "$MIRROR" ] || fail "no Debian mirror among this machine's apt sources" \
  "name one: SERVAL_DEBIAN_MIRROR=URI $0"

mkdir -p "$BASE"
WORK=$(mktemp -d "$BASE/installing.XXXXXX")
trap 'rm -rf "$WORK"' EXIT
trap 'exit 130' INT TERM

# A source list, lists, cache and package state of its own. The empty state makes apt name every dependency, whatever
# the system has; a snapshot's dates have often run out (check-valid-until). Debian's archive signature still counts.
mkdir -p "$WORK/lists/partial" "$WORK/cache/archives/partial" "$WORK/debs" "$WORK/root"
: >"$WORK/status"
KEYRING=/usr/share/keyrings/debian-archive-keyring.gpg
[ -r "$KEYRING" ] || fail "$KEYRING is missing: packages could not be verified" \
  "apt-get install debian-archive-keyring"
echo "deb [check-valid-until=no signed-by=$KEYRING] $MIRROR sid main" >"$WORK/sources.list"
apt_do() {
  command="$1"
  shift
  "$command" -q -o Dir::Etc::SourceList="$WORK/sources.list" -o Dir::Etc::SourceParts=/dev/null \
    -o Dir::State::Lists="$WORK/lists" -o Dir::State::status="$WORK/status" -o Dir::Cache="$WORK/cache" \
    -o Acquire::Languages=none -o Acquire::IndexTargets::deb::DEP-11::DefaultEnabled=false \
    -o Acquire::Retries=3 -o APT::Sandbox::User=root "$@"
}

say "reading the package list of Debian sid from the machine's mirror"
apt_do apt-get update >"$WORK/log" 2>&1 && ! grep -q '^[WE]: Failed' "$WORK/log" || {
  tail -n 5 "$WORK/log" >&2
  fail "apt can not read Debian sid from the configured mirror" \
    "check the network and the mirror, or name another: SERVAL_DEBIAN_MIRROR=URI $0"
}

VERSION=$(apt_do apt-cache policy criu | sed -n 's/^ *Candidate: //p')
case "$VERSION" in
  "" | "(none)") fail "Debian sid has no criu for $(dpkg --print-architecture)" \
    "build CRIU $WANTED or later from source and name it in SERVAL_CRIU" ;;
  "$WANTED".*) ;;
  *) say "sid no longer has $WANTED.x: taking what it has, $VERSION (tested with 4.2.1)" ;;
esac
TARGET="$BASE/criu-${VERSION%%-*}"

# The closure of dependencies, as apt would install it on an empty system: CRIU itself and its libraries.
packages=$(apt_do apt-get -s --no-install-recommends install criu 2>"$WORK/log" | sed -n 's/^Inst \([^ ]*\) .*/\1/p')
[ -n "$packages" ] || {
  tail -n 5 "$WORK/log" >&2
  fail "apt finds no complete set of packages for criu $VERSION" "sid may be in the middle of a transition: try later"
}
say "downloading criu $VERSION and $(($(echo "$packages" | wc -l) - 1)) libraries"
# shellcheck disable=SC2086  # one word for each package
(cd "$WORK/debs" && apt_do apt-get download $packages) >"$WORK/log" 2>&1 || {
  tail -n 5 "$WORK/log" >&2
  fail "apt refuses to download" "check the network and the free space, then run this again"
}

for deb in "$WORK"/debs/*.deb; do
  dpkg -x "$deb" "$WORK/root" || fail "can not unpack ${deb##*/}" "check the free space, then run this again"
done

# Only what CRIU needs to run, and the licences: no manuals, no header files, no character set converters.
find "$WORK/root/usr/share" ! -type d ! -name copyright -delete
find "$WORK/root/usr/share" -type d -empty -delete
rm -rf "$WORK/root/usr/include" "$WORK"/root/usr/lib/*/gconv
loader=$(cd "$WORK/root" && find usr/lib -name 'ld-linux*.so.*' | head -n 1)
binary=$(cd "$WORK/root" && find usr -path '*bin/criu' -type f | head -n 1)
[ -n "$loader" ] && [ -n "$binary" ] || fail "the packages hold no loader or no criu binary" \
  "sid has changed its layout: report it, with the version ($VERSION)"
cat >"$WORK/root/criu" <<WRAPPER
#!/bin/sh
# Starts CRIU $VERSION through the loader that it was built with, whatever glibc this system has.
HERE=\${0%/*}
[ -x "\$HERE/$loader" ] || HERE=\$(dirname -- "\$(readlink -f -- "\$0")")
exec "\$HERE/$loader" --library-path "\$HERE/${loader%/*}" "\$HERE/$binary" "\$@"
WRAPPER
chmod 755 "$WORK/root" "$WORK/root/criu"
check "$WORK/root/criu"

# In one step, so that a second installer or an interrupted one never leaves half a folder behind.
rm -rf "$TARGET"
mv "$WORK/root" "$TARGET"
ln -sfn "${TARGET##*/}" "$CURRENT"
say "criu $VERSION is in $TARGET"
printf '%s\n' "$CURRENT/criu"
