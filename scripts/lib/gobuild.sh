# shellcheck shell=bash
# How programs are built that others get: the same bytes on any machine.

# The tag of programs without the native codecs. Whoever has one of these need not
# have glibc, and the codecs are loaded by a libc.
STATIC=relive_static
FLAGS=$(scripts/version --flags)

# go_build FILE TAGS SETTING...: one program, with these settings of Go. One that is
# linked to libraries is placed at random by the kernel, and its tables of them cannot
# be written to, as distributions ask.
go_build() {
    local -a mode=(-buildmode=pie)
    local more=-bindnow
    if [[ $2 == "$STATIC" ]]; then
        mode=(-buildmode=exe)
        more=
    fi
    env CGO_ENABLED=0 GOOS=linux GOFLAGS='' GOEXPERIMENT='' "${@:3}" \
        go build -trimpath -buildvcs=false "${mode[@]}" -tags "$2" \
        -ldflags "-s -w -buildid= $more $FLAGS" -o "$1" ./cmd/relive
}
