# shellcheck shell=bash
# Small and large Debian roots out of the package mirrors that this machine's
# own apt uses. Sourced after say.sh.

# The release that a root is of, where that is another than this machine's.
DEBIAN_SUITE=${DEBIAN_SUITE:-}

# debian_codename: the release this machine runs; its mirrors carry it for sure.
debian_codename() {
    # shellcheck source=/dev/null
    (. /etc/os-release && printf '%s\n' "${VERSION_CODENAME:?}")
}

# debian_sources main|all: sources.list lines of Debian's own archives as this
# machine's apt has them: only the release's main suite, or the updates and
# security suites as well. With DEBIAN_SUITE, that suite of the same archives.
debian_sources() {
    local which=$1 suite=
    suite=$(debian_codename)
    # shellcheck disable=SC2016  # apt expands these, not the shell
    apt-get indextargets --format '$(REPO_URI) $(RELEASE) $(COMPONENT)' \
        'Created-By: Packages' 'Origin: Debian' |
        sort -u |
        awk -v which="$which" -v suite="$suite" -v other="$DEBIAN_SUITE" \
            '(which == "all" || $2 == suite) && $3 == "main" { print "deb", $1, other ? other : $2, $3 }'
}

# debian_apt_options: this machine's settings for fetching (proxies, date
# checks) as "key value;" lines for another apt.
debian_apt_options() {
    apt-config dump --no-empty |
        grep -E '^Acquire::(http::|https::|Check-|Retries)' || true
}

# debian_root TARGET VARIANT PACKAGES [SUITES [OPTION...]]: a Debian root in the
# directory (or archive, by its suffix) TARGET, from the release's main suite,
# or, with "all" for SUITES, from the updates and security suites as well;
# without recommended packages. PACKAGES are separated by commas, maybe empty.
# OPTIONs are mmdebstrap's.
debian_root() {
    local target=$1 variant=$2 packages=$3 suites=${4:-main} sources line
    local -a options=("${@:5}")
    sources=$(debian_sources "$suites")
    if [[ -z $sources ]]; then
        hint "run apt-get update once, so that apt knows its archives"
        die "apt lists no Debian archive of $(debian_codename)"
    fi
    while IFS= read -r line; do
        [[ -n $line ]] && options+=(--aptopt="$line")
    done < <(debian_apt_options)
    [[ -n $packages ]] && options+=(--include="$packages")
    mmdebstrap --mode=root --variant="$variant" --quiet \
        --aptopt='Acquire::Languages "none"' \
        --dpkgopt='force-unsafe-io' \
        "${options[@]}" "${DEBIAN_SUITE:-$(debian_codename)}" "$target" - <<<"$sources"
}
