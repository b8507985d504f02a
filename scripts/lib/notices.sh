# shellcheck shell=bash
# The licences of what a build holds.

# notices TAGS: the licences of all that is in a program built with these tags,
# relive's own first.
notices() {
    local module version dir file
    printf 'relive\n\n'
    cat LICENSE
    CGO_ENABLED=0 go list -tags "$1" -deps -f '{{with .Module}}{{if not .Main}}{{.Path}} {{.Version}} {{.Dir}}{{end}}{{end}}' ./cmd/relive |
        LC_ALL=C sort -u |
        while read -r module version dir; do
            printf '\n%s\n\n%s %s\n\n' "$(printf '=%.0s' {1..72})" "$module" "$version"
            for file in "$dir"/LICENSE* "$dir"/LICENCE* "$dir"/COPYING* "$dir"/NOTICE*; do
                if [[ -f $file ]]; then
                    cat "$file"
                fi
            done
        done
    printf '\n%s\n\nGo\n\n' "$(printf '=%.0s' {1..72})"
    cat "$(go env GOROOT)/LICENSE"
}
