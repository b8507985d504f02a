# shellcheck shell=bash
# The architectures that relive is built for: name and Go's settings. armv6 runs on
# every Raspberry Pi with its processor's floating point; 386 needs SSE2, which
# 386-softfloat does without, for machines before the Pentium 4.
ARCHES=(
    "amd64 GOARCH=amd64 GOAMD64=v1"
    "arm64 GOARCH=arm64 GOARM64=v8.0"
    "armv6 GOARCH=arm GOARM=6"
    "armv7 GOARCH=arm GOARM=7"
    "386 GOARCH=386 GO386=sse2"
    "386-softfloat GOARCH=386 GO386=softfloat"
    "riscv64 GOARCH=riscv64 GORISCV64=rva20u64"
)

# for_arches COMMAND...: COMMAND NAME SETTING... for each.
for_arches() {
    local arch
    local -a words
    for arch in "${ARCHES[@]}"; do
        read -ra words <<<"$arch"
        "$@" "${words[@]}"
    done
}
