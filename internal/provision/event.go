package provision

import (
	"bytes"
	"encoding/json"
	"fmt"
	"strings"
	"time"
)

// line is one line of the tool's event stream (OpenTofu and Terraform, "Machine-Readable UI", ui version 1).
type line struct {
	Level   string    `json:"@level"`
	Message string    `json:"@message"`
	At      time.Time `json:"@timestamp"`
	Type    string    `json:"type"`
	UI      string    `json:"ui"`
	Hook    struct {
		Resource struct {
			Address string `json:"addr"`
		} `json:"resource"`
		Action  string  `json:"action"`
		IDKey   string  `json:"id_key"`
		IDValue string  `json:"id_value"`
		Elapsed float64 `json:"elapsed_seconds"`
	} `json:"hook"`
	Diagnostic struct {
		Severity string `json:"severity"`
		Summary  string `json:"summary"`
		Detail   string `json:"detail"`
		Address  string `json:"address"`
	} `json:"diagnostic"`
}

// maxLine is the longest line of a stream that is read; longer ones are skipped.
const maxLine = 4 << 20

// states are the types of line that are about one resource.
var states = map[string]EventState{
	"apply_start": Started, "apply_progress": Going, "apply_complete": Complete, "apply_errored": Errored,
}

// parse reads a line of the stream. Types that are not known, and lines that are no event, say nothing.
func parse(b []byte) (e Event, known bool, err error) {
	b = bytes.TrimSpace(b)
	if len(b) == 0 || b[0] != '{' {
		return Event{}, false, nil
	}
	var l line
	if json.Unmarshal(b, &l) != nil { // cut off by a full disk or a crash
		return Event{}, false, nil
	}
	switch l.Type {
	case "version":
		if major, _, _ := strings.Cut(l.UI, "."); major != "1" {
			return Event{}, false, fmt.Errorf("the tool's event stream is of version %q, and only 1 is understood", l.UI)
		}
		return Event{}, false, nil
	case "log": // a word of the tool's about itself: that it was interrupted
		return Event{At: l.At, Message: plainly(l.Message)}, l.Message != "", nil
	case "diagnostic":
		words := l.Diagnostic.Summary
		if l.Diagnostic.Detail != "" {
			words += ": " + l.Diagnostic.Detail
		}
		return Event{At: l.At, Address: l.Diagnostic.Address, Message: plainly(words), Severity: l.Diagnostic.Severity}, true, nil
	}
	state, about := states[l.Type]
	if !about {
		return Event{}, false, nil
	}
	if l.Hook.IDKey != "id" { // it is a name
		l.Hook.IDValue = ""
	}
	return Event{
		At: l.At, Address: l.Hook.Resource.Address, Action: l.Hook.Action, State: state, IDValue: l.Hook.IDValue,
		Elapsed: time.Duration(l.Hook.Elapsed * float64(time.Second)), Message: l.Message,
	}, true, nil
}
