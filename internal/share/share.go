// Package share is the text in which operators tell each other where their sentries are: a small JSON document that
// pressenter writes, or a list of id@host:port as people paste it. What it reads comes from strangers, through croc or a
// terminal. The package is pure; internal/croc carries the text.
package share

import (
	"bytes"
	"encoding/json"
	"errors"
	"fmt"
	"io"
	"net/netip"
	"regexp"
	"strconv"
	"strings"
	"unicode/utf8"
)

// What one text may hold.
const (
	MaxText = 64 << 10 // bytes
	MaxIDs  = 128
)

// Format is what the JSON form says it is.
const Format = "peers/v1"

// maxQuoted is how much of what a stranger wrote an error shows.
const maxQuoted = 80

// List is where somebody's sentries are.
type List struct {
	ChainID string   // empty where only a plain list was given
	IDs     []string // id@host:port, none twice, in the order given
}

// document is a List as JSON.
type document struct {
	Format  string   `json:"pressenter"`
	ChainID string   `json:"chain_id"`
	IDs     []string `json:"ids"`
}

// Options says what else Parse takes.
type Options struct {
	// Private takes addresses that only mean something in one network: loopback, private, link-local and the like, and
	// names without a domain. From a stranger they would point at something of ours.
	Private bool
	// ChainID, if set, is that of our chain: a list for another is refused.
	ChainID string
}

// chainRE is what a roster takes for a chain id.
var chainRE = regexp.MustCompile(`^[A-Za-z0-9][A-Za-z0-9._-]{0,63}$`)

// Encode returns l as text, one line of JSON. It refuses what Parse with Private would.
func Encode(l List) ([]byte, error) {
	d := document{Format: Format, ChainID: l.ChainID, IDs: l.IDs}
	b, err := json.Marshal(d)
	if err != nil {
		return nil, fmt.Errorf("encode peers: %w", err)
	}
	if _, err := Parse(b, Options{Private: true}); err != nil {
		return nil, fmt.Errorf("encode peers: %w", err)
	}
	return append(b, '\n'), nil
}

// Parse reads what Encode writes, or a plain list: entries between line ends, spaces and commas. Whatever is wrong with
// one entry is an error: a list of which something is left out is not the list that was sent.
func Parse(b []byte, o Options) (List, error) {
	l, err := parse(b, o)
	if err != nil {
		return List{}, fmt.Errorf("read peers: %w", err)
	}
	return l, nil
}

func parse(b []byte, o Options) (List, error) {
	if len(b) > MaxText {
		return List{}, fmt.Errorf("%d bytes, more than %d", len(b), MaxText)
	}
	if err := checkText(b); err != nil {
		return List{}, err
	}
	var l List
	if text := bytes.TrimSpace(b); len(text) > 0 && text[0] == '{' {
		d, err := decode(text)
		if err != nil {
			return List{}, err
		}
		if !chainRE.MatchString(d.ChainID) {
			return List{}, fmt.Errorf("chain id %s is not valid", quote(d.ChainID))
		}
		l = List{ChainID: d.ChainID, IDs: d.IDs}
	} else {
		l.IDs = strings.FieldsFunc(string(b), func(r rune) bool { return r == ',' || r == ' ' || r == '\t' || r == '\r' || r == '\n' })
	}
	if o.ChainID != "" && l.ChainID != "" && l.ChainID != o.ChainID {
		return List{}, fmt.Errorf("they are peers of chain %s, ours is %s", l.ChainID, o.ChainID)
	}
	return l, l.check(o)
}

// checkText refuses what a terminal would act on.
func checkText(b []byte) error {
	for i, r := range string(b) {
		if r == utf8.RuneError || r > '~' || r < ' ' && r != '\t' && r != '\r' && r != '\n' {
			return fmt.Errorf("byte %d is no plain text", i+1)
		}
	}
	return nil
}

// decode reads the JSON form, strictly.
func decode(b []byte) (document, error) {
	var d document
	var head struct {
		Format string `json:"pressenter"`
	}
	if json.Unmarshal(b, &head) == nil && head.Format != Format && strings.HasPrefix(head.Format, "peers/") {
		return d, fmt.Errorf("the format is %s, this program knows %s: one of the two is to be updated", quote(head.Format), Format)
	}
	r := json.NewDecoder(bytes.NewReader(b))
	r.DisallowUnknownFields()
	if err := r.Decode(&d); err != nil {
		return d, errors.New("not the document that pressenter writes") // the decoder's words could hold anything
	}
	if _, err := r.Token(); !errors.Is(err, io.EOF) {
		return d, errors.New("something follows the document")
	}
	if d.Format != Format {
		return d, fmt.Errorf("the format is %s, want %s", quote(d.Format), Format)
	}
	return d, nil
}

func (l List) check(o Options) error {
	if n := len(l.IDs); n < 1 || n > MaxIDs {
		return fmt.Errorf("%d peers, want 1 to %d", n, MaxIDs)
	}
	seen := map[string]bool{}
	for i, s := range l.IDs {
		id, endpoint, _ := strings.Cut(s, "@")
		if err := checkPeer(id, endpoint, o.Private); err != nil {
			return fmt.Errorf("peer %d, %s: %w", i+1, quote(s), err)
		}
		if seen[id] {
			return fmt.Errorf("peer %d, %s: its id is there twice", i+1, quote(s))
		}
		seen[id] = true
	}
	return nil
}

// idRE is CometBFT's node id.
var idRE = regexp.MustCompile(`^[0-9a-f]{40}$`)

// checkPeer finds what is wrong with one peer.
func checkPeer(id, endpoint string, private bool) error {
	if !idRE.MatchString(id) {
		return errors.New("want id@host:port with an id of 40 lower-case hex digits")
	}
	if ap, err := netip.ParseAddrPort(endpoint); err == nil {
		return checkAddress(ap, endpoint, private)
	}
	host, port, _ := strings.Cut(endpoint, ":")
	n, err := strconv.ParseUint(port, 10, 16)
	if err != nil || n == 0 || strconv.FormatUint(n, 10) != port || !isName(host) {
		return errors.New("what follows the @ is not host:port")
	}
	if !private && !isPublicName(host) {
		return errors.New("the name means something in one network only")
	}
	return nil
}

// maxName is the longest DNS name.
const maxName = 253

var nameRE = regexp.MustCompile(`^[a-z0-9]([a-z0-9-]{0,61}[a-z0-9])?(\.[a-z0-9]([a-z0-9-]{0,61}[a-z0-9])?)*$`)

// isName reports whether host is a DNS name that nobody takes for an address in an odd spelling, such as 127.1.
func isName(host string) bool {
	_, number := strconv.ParseUint(host[strings.LastIndexByte(host, '.')+1:], 0, 64)
	return len(host) <= maxName && nameRE.MatchString(host) && number != nil
}

// localDomains are names that no public server answers for (RFC 6761, 6762, 8375, 9476 and ICANN's internal).
var localDomains = []string{"localhost", "local", "internal", "home.arpa", "test", "invalid", "example", "onion", "alt", "lan"}

// isPublicName reports whether host could be found by everybody. Where it leads to only shows when it is looked up.
func isPublicName(host string) bool {
	if !strings.Contains(host, ".") {
		return false
	}
	for _, d := range localDomains {
		if strings.HasSuffix(host, "."+d) {
			return false
		}
	}
	return true
}

// reserved are networks that are not on the Internet and that netip has no word for (RFC 6890 and its registry).
var reserved = []netip.Prefix{
	netip.MustParsePrefix("0.0.0.0/8"), netip.MustParsePrefix("100.64.0.0/10"), netip.MustParsePrefix("192.0.0.0/24"),
	netip.MustParsePrefix("192.0.2.0/24"), netip.MustParsePrefix("198.18.0.0/15"), netip.MustParsePrefix("198.51.100.0/24"),
	netip.MustParsePrefix("203.0.113.0/24"), netip.MustParsePrefix("240.0.0.0/4"),
	netip.MustParsePrefix("64:ff9b::/96"), netip.MustParsePrefix("64:ff9b:1::/48"), netip.MustParsePrefix("100::/64"),
	netip.MustParsePrefix("2001:db8::/32"), netip.MustParsePrefix("2002::/16"), netip.MustParsePrefix("fec0::/10"),
	netip.MustParsePrefix("::/96"), netip.MustParsePrefix("3fff::/20"),
}

func checkAddress(ap netip.AddrPort, spelling string, private bool) error {
	a := ap.Addr()
	if ap.String() != spelling || ap.Port() == 0 || a.Zone() != "" || a.Is4In6() || a.IsUnspecified() || a.IsMulticast() {
		return errors.New("what follows the @ is not host:port")
	}
	if private {
		return nil
	}
	local := a.IsLoopback() || a.IsPrivate() || a.IsLinkLocalUnicast()
	for _, p := range reserved {
		local = local || p.Contains(a)
	}
	if local {
		return errors.New("the address means something in one network only")
	}
	return nil
}

// quote returns the start of s so that a terminal can be shown it.
func quote(s string) string {
	if len(s) > maxQuoted {
		return strconv.QuoteToASCII(s[:maxQuoted]) + "…"
	}
	return strconv.QuoteToASCII(s)
}
