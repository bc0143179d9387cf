package share

import (
	"fmt"
	"strings"
	"testing"

	"github.com/google/go-cmp/cmp"

	"github.com/pressenter/pressenter/internal/roster"
)

const (
	idA = "00112233445566778899aabbccddeeff00112233"
	idB = "ffeeddccbbaa99887766554433221100ffeeddcc"
)

var list = List{ChainID: "practice-1", IDs: []string{idA + "@8.8.4.4:26656", idB + "@[2600::1]:1", strings.Repeat("12", 20) + "@s1.validators.org:26656"}}

func TestEncode(t *testing.T) {
	b, err := Encode(list)
	want := `{"pressenter":"peers/v1","chain_id":"practice-1","ids":["` + strings.Join(list.IDs, `","`) + "\"]}\n"
	if err != nil || string(b) != want {
		t.Errorf("got %s, %v; want %s", b, err, want)
	}
	got, err := Parse(b, Options{ChainID: "practice-1"})
	if err != nil || !cmp.Equal(got, list) {
		t.Errorf("got %+v, %v", got, err)
	}
	for _, bad := range []List{{}, {ChainID: "practice-1"}, {ChainID: "a b", IDs: list.IDs}, {ChainID: "c", IDs: []string{"x"}}} {
		if _, err := Encode(bad); err == nil {
			t.Errorf("%+v is encoded", bad)
		}
	}
}

func TestParsePlain(t *testing.T) {
	for _, text := range []string{
		strings.Join(list.IDs, "\n"),
		strings.Join(list.IDs, ","),
		"\r\n" + strings.Join(list.IDs, ",\r\n") + "\r\n\n",
		" " + strings.Join(list.IDs, " ,\t") + ",",
	} {
		if got, err := Parse([]byte(text), Options{ChainID: "practice-1"}); err != nil || !cmp.Equal(got.IDs, list.IDs) || got.ChainID != "" {
			t.Errorf("%q: %+v, %v", text, got, err)
		}
	}
}

func TestParseRefuses(t *testing.T) {
	doc := func(ids string) string { return `{"pressenter":"peers/v1","chain_id":"c","ids":[` + ids + `]}` }
	good := `"` + idA + `@8.8.4.4:1"`
	if _, err := Parse([]byte(doc(good)), Options{}); err != nil {
		t.Fatal(err)
	}
	many := make([]string, MaxIDs+1)
	for i := range many {
		many[i] = fmt.Sprintf("%040x@8.8.4.4:1", i)
	}
	for name, c := range map[string]struct{ text, want string }{
		"nothing":          {"", "0 peers"},
		"no peers":         {doc(""), "0 peers"},
		"too many":         {strings.Join(many, "\n"), "129 peers"},
		"too long":         {strings.Repeat(" ", MaxText+1), "more than"},
		"escape":           {idA + "@8.8.4.4:1\x1b[2J", "byte 51 is no plain text"},
		"not ASCII":        {idA + "@8.8.4.4:1é", "no plain text"},
		"not UTF-8":        {"\xff", "no plain text"},
		"NUL":              {idA + "@8.8.4.4:1\x00", "no plain text"},
		"unknown field":    {`{"pressenter":"peers/v1","chain_id":"c","ids":[` + good + `],"x":1}`, "not the document"},
		"another format":   {`{"pressenter":"x","chain_id":"c","ids":[` + good + `]}`, `the format is "x"`},
		"newer format":     {`{"pressenter":"peers/v2","new":1}`, "to be updated"},
		"no format":        {`{"ids":[` + good + `]}`, "the format is"},
		"no chain":         {`{"pressenter":"peers/v1","ids":[` + good + `]}`, "chain id"},
		"two documents":    {doc(good) + doc(good), "something follows"},
		"cut":              {doc(good)[:30], "not the document"},
		"escaped control":  {doc(`"\u001b` + idA + `@8.8.4.4:1"`), "40 lower-case"},
		"another chain":    {`{"pressenter":"peers/v1","chain_id":"d","ids":[` + good + `]}`, "peers of chain d, ours is c"},
		"upper case":       {strings.ToUpper(idA) + "@8.8.4.4:1", "lower-case"},
		"short id":         {idA[1:] + "@8.8.4.4:1", "lower-case"},
		"no id":            {"8.8.4.4:1", "want id@host:port"},
		"no port":          {idA + "@8.8.4.4", "host:port"},
		"port 0":           {idA + "@8.8.4.4:0", "host:port"},
		"port 65536":       {idA + "@8.8.4.4:65536", "host:port"},
		"port 026":         {idA + "@a.org:026", "host:port"},
		"odd address":      {idA + "@127.1:1", "host:port"},
		"hex address":      {idA + "@0x7f000001:1", "host:port"},
		"two ats":          {idA + "@a@b.org:1", "host:port"},
		"url":              {idA + "@http://a.org:1", "host:port"},
		"zone":             {idA + "@[fe80::1%eth0]:1", "host:port"},
		"mapped":           {idA + "@[::ffff:8.8.4.4]:1", "host:port"},
		"unspecified":      {idA + "@0.0.0.0:1", "host:port"},
		"multicast":        {idA + "@224.0.0.1:1", "host:port"},
		"odd spelling":     {idA + "@[2600:0::1]:1", "host:port"},
		"id twice":         {idA + "@8.8.4.4:1 " + idA + "@8.8.8.8:1", "twice"},
		"long":             {idA + "@" + strings.Repeat("a", 254) + ":1", "host:port"},
		"quoted, not long": {strings.Repeat("z", 5000), "…"},
	} {
		_, err := Parse([]byte(c.text), Options{ChainID: "c"})
		if err == nil || !strings.Contains(err.Error(), c.want) {
			t.Errorf("%s: %v, want %q", name, err, c.want)
		}
		if err != nil && (len(err.Error()) > 400 || strings.ContainsAny(err.Error(), "\x1b\x00")) {
			t.Errorf("%s: the error is no text for a terminal: %q", name, err)
		}
	}
}

// What points into somebody's own network is taken only from who is asked to.
func TestParsePrivate(t *testing.T) {
	for _, host := range []string{
		"127.0.0.1", "127.9.9.9", "10.0.0.1", "172.16.0.1", "192.168.1.1", "169.254.169.254", "100.64.0.1", "0.1.2.3", "198.18.0.1",
		"255.255.255.255", "192.0.2.1", "[::1]", "[fe80::1]", "[fd00::1]", "[fec0::1]", "[2001:db8::1]", "[64:ff9b::7f00:1]",
		"[2002:7f00:1::]", "[::127.0.0.1]", "localhost", "a.localhost", "sentry", "printer.local", "metadata.google.internal", "router.lan",
	} {
		text := []byte(idA + "@" + host + ":26656")
		if host == "[::127.0.0.1]" {
			text = []byte(idA + "@[::7f00:1]:26656")
		}
		if _, err := Parse(text, Options{}); err == nil || !strings.Contains(err.Error(), "one network only") {
			t.Errorf("%s: %v", text, err)
		}
		if _, err := Parse(text, Options{Private: true}); err != nil {
			t.Errorf("%s, allowed: %v", text, err)
		}
	}
}

func FuzzParse(f *testing.F) {
	b, err := Encode(list)
	if err != nil {
		f.Fatal(err)
	}
	f.Add(b, true)
	f.Add([]byte(strings.Join(list.IDs, ",\n")), false)
	f.Add([]byte(idA+"@127.1:1"), true)
	f.Fuzz(func(t *testing.T, b []byte, private bool) {
		l, err := Parse(b, Options{Private: private})
		if err != nil {
			return
		}
		if l.ChainID == "" {
			l.ChainID = "c"
		}
		again, err := Encode(l)
		if err != nil {
			t.Fatalf("%q is read and cannot be written: %v", b, err)
		}
		if got, err := Parse(again, Options{Private: private}); err != nil || !cmp.Equal(got, l) {
			t.Fatalf("got %+v, %v; want %+v", got, err, l)
		}
		// What is taken here, a roster takes.
		admin := roster.Admin{Name: "a", Key: roster.Key{1}, Capabilities: roster.AllCapabilities()}
		r := roster.New("d", []roster.Admin{admin}, roster.Chain{ID: l.ChainID})
		r.Peers = l.IDs
		if err := r.Check(); err != nil {
			t.Fatalf("%q is no peer of a roster: %v", l.IDs, err)
		}
	})
}
