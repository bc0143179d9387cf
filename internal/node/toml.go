package node

import (
	"bytes"
	"fmt"
	"strconv"
	"strings"

	"github.com/creachadair/tomledit"
	"github.com/creachadair/tomledit/parser"
)

// Setting is one key of a TOML file that the daemon's own init wrote, and the value it must have.
type Setting struct {
	Key   string // dotted, e.g. "p2p.laddr"
	Value string // TOML text, e.g. `"tcp://127.0.0.1:26656"`
	// Optional settings are skipped where the daemon's line of CometBFT does not have the key.
	Optional bool
	// live settings can be brought into effect in a node that runs.
	live bool
}

// text, flag and number build a Setting's value.
func text(key, v string) Setting          { return Setting{Key: key, Value: strconv.Quote(v)} }
func flag(key string, v bool) Setting     { return Setting{Key: key, Value: strconv.FormatBool(v)} }
func number(key string, v int) Setting    { return Setting{Key: key, Value: strconv.Itoa(v)} }
func list(key string, v []string) Setting { return text(key, strings.Join(v, ",")) }

func (s Setting) optional() Setting { s.Optional = true; return s }

func (s Setting) liveIf(yes bool) Setting { s.live = yes; return s }

// Edit returns src with every setting's value replaced. Everything else (unknown keys, comments, order) is kept.
// A key that src lacks is an error: a daemon that does not know a key that hides a validator must not be run
// as if it did.
func Edit(src []byte, settings []Setting) ([]byte, error) {
	doc, err := tomledit.Parse(bytes.NewReader(src))
	if err != nil {
		return nil, fmt.Errorf("read TOML: %w", err)
	}
	var missing []string
	for _, s := range settings {
		entries := doc.Find(strings.Split(s.Key, ".")...)
		if len(entries) == 0 {
			if !s.Optional {
				missing = append(missing, s.Key)
			}
			continue
		}
		if len(entries) > 1 {
			return nil, fmt.Errorf("key %q stands %d times", s.Key, len(entries))
		}
		if !entries[0].IsMapping() {
			return nil, fmt.Errorf("key %q is a table, not a value", s.Key)
		}
		value, err := parser.ParseValue(s.Value)
		if err != nil {
			return nil, fmt.Errorf("value %s of key %q: %w", s.Value, s.Key, err)
		}
		value.Trailer = entries[0].Value.Trailer
		entries[0].Value = value
	}
	if len(missing) > 0 {
		return nil, fmt.Errorf("the daemon's configuration has no key %s", strings.Join(missing, ", "))
	}
	var out bytes.Buffer
	if err := tomledit.Format(&out, doc); err != nil {
		return nil, fmt.Errorf("write TOML: %w", err)
	}
	return out.Bytes(), nil
}

// Values reads what a TOML file of a daemon says: the text of every value, by its dotted key. A text is without its
// quotes; what else a value is stays as TOML writes it. Of a key that stands more than once the last counts.
func Values(src []byte) (map[string]string, error) {
	doc, err := tomledit.Parse(bytes.NewReader(src))
	if err != nil {
		return nil, fmt.Errorf("read TOML: %w", err)
	}
	values := map[string]string{}
	doc.Scan(func(key parser.Key, e *tomledit.Entry) bool {
		if e.IsMapping() {
			value := e.Value.String()
			if plain, err := strconv.Unquote(value); err == nil {
				value = plain
			} else if n := len(value); n > 1 && value[0] == '\'' && value[n-1] == '\'' {
				value = value[1 : n-1]
			}
			values[strings.Join(key, ".")] = value
		}
		return true
	})
	return values, nil
}
