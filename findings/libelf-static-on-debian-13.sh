#!/usr/bin/env bash
# No program can be linked statically with the libelf of Debian 13.
#
# Expected: libelf-dev has libelf.a, so `gcc -static main.c -lelf -lz -lzstd`, as `pkg-config --static --libs libelf` says, links
# wherever the shared library does. On Debian 12 (libelf 0.188) it does, and loaders of BPF are linked so.
# So it is in Debian 13 (libelf 0.192): libelf.a calls `eu_search_tree_init`, which is in none of its archives, nor in those of
# libdw-dev. Whatever calls `elf_begin` fails to link: "undefined reference". (It is a helper of
# elfutils, compiled from `lib/eu-search.c`.)
. "$(dirname "$0")/debian.bash"
command -v nm >/dev/null || { echo "needs nm" >&2; exit 3; }

# symbols LETTERS FOLDER ...: the archives there in which the function has one of these types.
symbols() {
    find "${@:2}" -name '*.a' -exec nm --print-file-name {} + 2>/dev/null |
        grep -E " [$1] eu_search_tree_init$" | sed 's/.*\/\([^/:]*\.a\):.*/\1/' | sort --unique
}
unpack bookworm libelf-dev 0.188-2.1
same "archives of Debian 12 that call it" "$(symbols U "$tmp/libelf-dev")" ""
rm --recursive "$tmp/libelf-dev"
unpack trixie libelf-dev 0.192-4
unpack trixie libdw-dev 0.192-4
same "archives of Debian 13 that call it" "$(symbols U "$tmp/libelf-dev")" "libelf.a"
same "archives of Debian 13 that have it" "$(symbols Tt "$tmp/libelf-dev" "$tmp/libdw-dev")" ""
cat >"$tmp/main.c" <<'C'
void *elf_begin(int, int, void *);
int main(void) { return elf_begin(-1, 0, 0) != 0; }
C
library=$(find "$tmp/libelf-dev" -name libelf.a -printf %h)
gcc -static -L"$library" "$tmp/main.c" -o "$tmp/main" -lelf -Wl,--unresolved-symbols=report-all 2>"$tmp/errors" || true
same "what the linker says" "$(grep -o 'undefined reference to `eu_search_tree_init.' "$tmp/errors" | head -n 1)" \
    'undefined reference to `eu_search_tree_init'"'"
