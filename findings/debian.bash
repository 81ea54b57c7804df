# What the scripts here share: packages of Debian, and its kernels under QEMU with an initramfs of one C program. Sourced.
# Needs gcc, libc6-dev, qemu-system-x86, apt and a network; changes nothing outside of a temporary folder.
set -euo pipefail
tmp=$(mktemp --directory)
trap 'rm --recursive --force "$tmp"' EXIT
for program in gcc qemu-system-x86_64 apt-get dpkg-deb; do
    command -v "$program" >/dev/null || { echo "needs $program" >&2; exit 3; }
done

# Of Debian 12, 13, and the backports of 13.
declare -A packages=(
    [6.1]="bookworm linux-image-6.1.0-50-cloud-amd64 6.1.176-1"
    [6.12]="trixie linux-image-6.12.117+deb13-cloud-amd64 6.12.117-1"
    [7.3]="trixie-backports linux-binary-7.3.4+deb13-cloud-amd64 7.3.4-1~bpo13+1"
)

# kernel NAME: unpacks the package of this name; the image is $tmp/NAME.
kernel() {
    local suite package version
    read -r suite package version <<<"${packages[$1]}"
    unpack "$suite" "$package" "$version"
    find "$tmp/$package" -type f -name 'vmlinuz*' -exec mv {} "$tmp/$1" \;
}

# unpack SUITE PACKAGE VERSION: downloads it by an apt with a state of its own, and unpacks it to $tmp/PACKAGE.
unpack() {
    local suite=$1 package=$2 version=$3 apt=$tmp/apt-$1 mirror
    mirror=$(apt-get indextargets --format '$(REPO_URI)' 'Created-By: Packages' | grep '/debian/*$' | head -n 1)
    if [ ! -e "$apt/sources" ]; then
        mkdir --parents "$apt"/{lists/partial,cache/archives/partial,parts}
        touch "$apt/status"
        echo "deb [signed-by=/usr/share/keyrings/debian-archive-keyring.gpg] $mirror $suite main" >"$apt/sources"
        private "$apt" update
    fi
    mkdir "$tmp/$package"
    (cd "$tmp/$package" && private "$apt" download "$package=$version" && dpkg-deb --extract ./*.deb .)
    echo "$package $version"
}

private() {
    apt-get --quiet=2 -o Dir::Etc::SourceList="$1/sources" -o Dir::Etc::SourceParts="$1/parts" -o Dir::State::Lists="$1/lists" \
        -o Dir::State::status="$1/status" -o Dir::Cache="$1/cache" -o APT::Sandbox::User=root "${@:2}"
}

# init <<'C': the body of main, with the helpers below, as PID 1.
init() {
    { cat <<'C'; echo "int main(void) {"; echo 'mkdir("/proc", 0755); mkdir("/sys", 0755); mount("proc", "/proc", "proc", 0, 0); mount("sys", "/sys", "sysfs", 0, 0);'; cat; echo "reboot(RB_AUTOBOOT); }"; } >"$tmp/init.c"
#define _GNU_SOURCE
#include <errno.h>
#include <fcntl.h>
#include <sched.h>
#include <signal.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/mount.h>
#include <sys/prctl.h>
#include <sys/reboot.h>
#include <sys/stat.h>
#include <time.h>
#include <unistd.h>
static double now(void) { struct timespec t; clock_gettime(CLOCK_MONOTONIC, &t); return t.tv_sec + t.tv_nsec / 1e9; }
static void wait_for(double s) { struct timespec t = { (long)s, (long)((s - (long)s) * 1e9) }; while (nanosleep(&t, &t)); }
static void put(const char *file, const char *text) {
    int fd = open(file, O_WRONLY);
    if (fd < 0 || write(fd, text, strlen(text)) < 0) printf("write(%s) failed: %s\n", file, strerror(errno));
    close(fd);
}
static char *get(const char *file) {
    static char text[4096]; int fd = open(file, O_RDONLY); long n = read(fd, text, sizeof text - 1);
    close(fd); text[n < 0 ? 0 : n] = 0; return text;
}
/* CPU time of a task, in seconds. */
static double used(int pid) {
    char file[64]; sprintf(file, "/proc/%d/schedstat", pid); return strtod(get(file), 0) / 1e9;
}
/* A task with real-time priority 90, so that what it looks at does not delay it. */
static void observe(void) { struct sched_param p = { 90 }; sched_setscheduler(0, SCHED_FIFO, &p); }
/* A child in this cgroup (0: in the root) that spins, and yields in each turn if asked. */
static int spinner(const char *cgroup, int yields) {
    int pid = fork();
    if (pid) return pid;
    struct sched_param p = { 0 }; sched_setscheduler(0, SCHED_OTHER, &p);
    char file[128]; sprintf(file, "%s/cgroup.procs", cgroup ? cgroup : "/sys/fs/cgroup"); put(file, "0");
    for (;;) if (yields) sched_yield();
}
static void cgroups(void) {
    mount("cg", "/sys/fs/cgroup", "cgroup2", 0, 0); put("/sys/fs/cgroup/cgroup.subtree_control", "+cpu");
}
C
    gcc -O1 -static -w -o "$tmp/init" "$tmp/init.c"
    { file init "$tmp/init"; file 'TRAILER!!!' /dev/null; } >"$tmp/initramfs"
}

# A member of a cpio archive of the kind `newc`.
file() {
    local name=$1 size
    size=$(stat --format=%s --dereference "$2")
    [ -f "$2" ] || size=0
    printf '070701%08X%08X%08X%08X%08X%08X%08X%08X%08X%08X%08X%08X%08X%s\0' 1 $((0100755)) 0 0 1 0 "$size" 0 0 0 0 $((${#name} + 1)) 0 "$name"
    head --bytes=$(((4 - (110 + ${#name} + 1) % 4) % 4)) /dev/zero
    [ "$size" -eq 0 ] || { cat "$2"; head --bytes=$(((4 - size % 4) % 4)) /dev/zero; }
}

# boot NAME CPUS [ARGUMENT ...]: the lines `name=value` that PID 1 prints. The clock of a single CPU counts instructions.
boot() {
    local clock=()
    [ "$2" -gt 1 ] || clock=(-icount shift=2)
    timeout 300 qemu-system-x86_64 -accel tcg "${clock[@]}" -smp "$2" -m 512 -nodefaults -display none -no-reboot \
        -kernel "$tmp/$1" -initrd "$tmp/initramfs" -serial stdio \
        -append "console=ttyS0 quiet panic=-1 ${*:3}" </dev/null | tr --delete '\r' | grep -a '^[a-z].*='
}

# same WHAT SEEN EXPECTED
same() {
    echo "  $1: $2"
    [ "$2" = "$3" ] || { echo "changed: $1 was $3" >&2; exit 1; }
}

# between WHAT SEEN LOW HIGH, all whole numbers.
between() {
    echo "  $1: $2"
    [ "$2" -ge "$3" ] && [ "$2" -le "$4" ] || { echo "changed: $1 was between $3 and $4" >&2; exit 1; }
}
