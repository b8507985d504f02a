package manual

import (
	"strings"
	"testing"
	"time"
)

const document = `# Title

A paragraph with ` + "`code here`" + `, *stress*, **strong words** and [a link](other.md), and
one [away](https://example.org/x).

## Part

- one
  goes on

  and on
- two ` + "`x`" + `

1. first
2. second

| name | what | case |
|---|---|---|
| ` + "`a\\|b`" + ` | it is \| that | c1 |

` + "```" + `
.literal  -x \ 'y'
` + "```" + `

    four blanks
`

func TestText(t *testing.T) {
	want := `TITLE

A paragraph with "code here", stress, strong words and a link, and one away
<https://example.org/x>.

PART

- one goes on

  and on
- two x

1. first
2. second

a|b
    it is | that

    .literal  -x \ 'y'

    four blanks
`
	if got := Text(Parse(document), 78); got != want {
		t.Errorf("got\n%s\nwant\n%s", got, want)
	}
	for _, width := range []int{0, 40, 60} {
		for _, line := range strings.Split(Text(Parse(document), width), "\n") {
			if len(line) > max(width, 40) {
				t.Errorf("width %d: %q", width, line)
			}
		}
	}
}

func TestMdoc(t *testing.T) {
	p := Page{Name: "relive-x", Section: 7, Short: "does x - or y", Date: time.Unix(0, 0), Version: "1.2"}
	p.Begin()
	p.Blocks(Parse(document))
	want := `.Dd January 1, 1970
.Dt RELIVE-X 7
.Os relive 1.2
.Sh NAME
.Nm relive-x
.Nd does x \- or y
A paragraph with \fBcode here\fP, \fIstress\fP, \fBstrong words\fP and a
link, and one away <https://example.org/x>.
.Sh PART
.Bl -bullet
.It
one goes on
.Pp
and on
.It
two \fBx\fP
.El
.Bl -enum
.It
first
.It
second
.El
.Bl -tag -width Ds
.It "a|b"
it is | that
.El
.Bd -literal -offset indent
\&.literal  \-x \e \(aqy\(aq
.Ed
.Bd -literal -offset indent
four blanks
.Ed
`
	if got := p.String(); got != want {
		t.Errorf("got\n%s\nwant\n%s", got, want)
	}
}
