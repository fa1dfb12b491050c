/** Quote words for a POSIX shell. */
export function shellWords(words: readonly string[]): string {
  return words.map((word) => `'${word.replaceAll("'", `'\\''`)}'`).join(' ');
}

/**
 * The guest's process 1. ttyS0 is the kernel's console; ttyS1 carries the command's output, and in it, in order, two
 * marker lines that begin with the word $GUEST_MARK of the kernel's command line. The host ends the machine when it
 * has read the second; the `reboot` is for a host that did not.
 */
export const initScript = `#!/bin/busybox sh
export PATH=/usr/sbin:/usr/bin:/bin HOME=/root TERM=dumb LANG=C.UTF-8
mount -t proc proc /proc
mount -t sysfs sysfs /sys
mount -t devtmpfs devtmpfs /dev
mkdir -p /dev/pts /dev/shm
mount -t devpts devpts /dev/pts
mount -t tmpfs tmpfs /dev/shm
mount -t tmpfs tmpfs /run
mount -t tmpfs tmpfs /tmp
mount -t cgroup2 cgroup2 /sys/fs/cgroup
mount -t bpf bpf /sys/fs/bpf
mkdir -p /var && ln -s ../run /var/run
until [ -b /dev/nvme0n1 ]; do sleep 0.02; done
mount -t ext4 -o ro /dev/nvme0n1 /base
busybox ip link set lo up
echo 1 > /proc/sys/net/core/bpf_jit_enable
[ -z "$(ls /job/lib)" ] || export LD_LIBRARY_PATH=/job/lib
mark=$GUEST_MARK
unset GUEST_MARK
stty -F /dev/ttyS1 raw -echo 115200
mkfifo /run/output
setsid cat /run/output > /dev/ttyS1 &
exec 3> /run/output
echo "$mark started" >&3
/usr/bin/setsid dash /job/command < /dev/null >&3 2>&1 3>&-
echo "$mark exit $?" >&3
sleep 5
reboot -f
`;
