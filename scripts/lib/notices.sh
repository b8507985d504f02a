# shellcheck shell=bash
# The licences of what a build holds.

# modules TAGS: the modules in a program built with these tags: name, version and
# directory, a line each.
modules() {
    CGO_ENABLED=0 go list -tags "$1" -deps -f '{{with .Module}}{{if not .Main}}{{.Path}} {{.Version}} {{.Dir}}{{end}}{{end}}' ./cmd/relive |
        LC_ALL=C sort -u
    printf 'Go %s %s\n' "$(go env GOVERSION)" "$(go env GOROOT)"
}

# licence_files DIR: the files that hold a module's licence.
licence_files() {
    local file
    for file in "$1"/LICENSE* "$1"/LICENCE* "$1"/COPYING* "$1"/NOTICE*; do
        if [[ -f $file ]]; then
            printf '%s\n' "$file"
        fi
    done
}

# notices TAGS: the licences of all that is in a program built with these tags,
# relive's own first.
notices() {
    local module version dir
    printf 'relive\n\n'
    cat LICENSE
    modules "$1" | while read -r module version dir; do
        printf '\n%s\n\n%s %s\n\n' "$(printf '=%.0s' {1..72})" "$module" "$version"
        licence_files "$dir" | xargs -d '\n' cat
    done
}

# debian_copyright TAGS: the same in the form of Debian's file copyright. The Apache
# License, which is on every Debian system, is named in it and not printed.
debian_copyright() {
    local module version dir
    cat <<'TEXT'
Format: https://www.debian.org/doc/packaging-manuals/copyright-format/1.0/
Upstream-Name: relive
Comment: The program is linked statically. The licences of the modules that are
 in it follow that of relive itself.

Files: *
Copyright: 2026 The relive authors
License: Apache-2.0
TEXT
    apache
    modules "$1" | while read -r module version dir; do
        printf '\nFiles: %s/*\n' "$module"
        licence_files "$dir" | xargs -d '\n' cat | holders "$module"
        printf 'License: %s\n' "${module//\//-}"
        licence_files "$dir" | xargs -d '\n' cat | without_apache | sed -e 's/[[:space:]]*$//' -e 's/^/ /' -e 's/^ $/ ./'
    done
}

# holders MODULE: the field Copyright of the licences that it reads.
holders() {
    # "[yyyy]" is of a form that nobody has filled in.
    sed -nE '/\[yyyy\]/d; s/^[[:space:]]*Copyright ((\([cC]\) )?[0-9A-Z].*)$/\1/p' | sed -E 's/^\([cC]\) //; s/[[:space:]]*$//' |
        awk -v module="$1" '!seen[$0]++ { print n++ ? " " $0 : "Copyright: " $0 }
            END { if (!n) print "Copyright: the authors of " module }'
}

# without_apache: a text in which the Apache License is named and not printed.
without_apache() {
    awk '
        /^ +Apache License$/ && !within {
            print "The Apache License, version 2.0: /usr/share/common-licenses/Apache-2.0"
            within = 1
            next
        }
        within && /APPENDIX: How to apply/ { within = 2; next }
        within == 1 && /END OF TERMS AND CONDITIONS/ { next }
        # The appendix ends with the notice that it advises.
        within == 2 && /limitations under the License\./ { within = 0; next }
        within == 1 && /^(---|===|The MIT License|MIT License)/ { within = 0 }
        within { next }
        { print }'
}

apache() {
    cat <<'TEXT'
 Licensed under the Apache License, version 2.0. You may obtain a copy of it at
 http://www.apache.org/licenses/LICENSE-2.0.
 .
 On Debian systems the text is in /usr/share/common-licenses/Apache-2.0.
TEXT
}
