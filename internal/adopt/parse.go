package adopt

import (
	"bytes"
	"encoding/base64"
	"errors"
	"fmt"
	"path"
	"regexp"
	"slices"
	"strconv"
	"strings"
	"time"
	"unicode"
)

// Bounds on what a server tells.
const (
	maxTold  = 8 << 20 // bytes of a script's answer
	maxLines = 4096
	maxText  = 512 // bytes of one thing that is shown
	maxList  = 32
	maxUnits = 8
)

// line is one of a script's answer.
type line struct{ key, value string }

// lines takes a script's answer apart: KEY and base64, each in a line.
func lines(told []byte) ([]line, error) {
	var all []line
	for l := range bytes.Lines(told) {
		key, text, _ := strings.Cut(strings.TrimRight(string(l), "\n"), " ")
		if key == "" {
			continue
		}
		if len(all) == maxLines {
			return nil, fmt.Errorf("read what the server tells: it has more than %d lines", maxLines)
		}
		if strings.HasSuffix(key, "-") { // there is none, and why
			all = append(all, line{key, text})
			continue
		}
		b, err := base64.StdEncoding.DecodeString(text)
		if err != nil {
			return nil, errors.New("read what the server tells: a line is not as the script writes it")
		}
		all = append(all, line{key, string(b)})
	}
	return all, nil
}

// clean is text that may be shown: one line, without what a terminal obeys, and not for ever.
func clean(s string) string {
	s = strings.Map(func(r rune) rune {
		if !unicode.IsPrint(r) {
			return '�'
		}
		return r
	}, strings.TrimSpace(s))
	if len(s) > maxText {
		s = strings.ToValidUTF8(s[:maxText], "") + "…"
	}
	return s
}

// words are the parts of a list that may be shown.
func words(s string) []string {
	all := strings.Fields(s)
	if len(all) > maxList {
		all = all[:maxList]
	}
	for i := range all {
		all[i] = clean(all[i])
	}
	return all
}

// process is one of a unit's.
type process struct {
	pid      int
	exe, sum string
	args     []string
	uid, gid string
	since    time.Time
	names    []string          // of its variables
	places   map[string]string // variables that say where a home is
	open     []string          // homes in which it has databases open
}

// unit is what was told of one.
type unit struct {
	name      string
	said      map[string]string // properties
	exec      [][]string        // arguments of ExecStart
	places    map[string]string
	uid, gid  string
	userHome  string
	processes []process
}

// told is all that the first script says.
type told struct {
	units   []unit
	running []string // control groups in which something like a daemon runs
}

// parseUnits reads what units.sh tells. Whatever it says, the answer is one that can be judged, or an error.
func parseUnits(b []byte) (told, error) {
	all, err := lines(b)
	if err != nil {
		return told{}, err
	}
	var t told
	boot, ticks := int64(0), int64(100)
	for _, l := range all {
		switch l.key {
		case "boot":
			boot = number(l.value)
		case "ticks":
			if n := number(l.value); n > 0 {
				ticks = n
			}
		case "running":
			if len(t.running) < maxList {
				t.running = append(t.running, clean(l.value))
			}
		case "unit":
			if len(t.units) == maxUnits {
				return told{}, fmt.Errorf("more than %d services there run a chain's daemon, or would: that is not understood", maxUnits)
			}
			t.units = append(t.units, unit{name: clean(l.value)})
		default:
			if len(t.units) > 0 {
				t.units[len(t.units)-1].hear(l, boot, ticks)
			}
		}
	}
	return t, nil
}

// hear takes in a line about the unit or the last of its processes.
func (u *unit) hear(l line, boot, ticks int64) {
	if l.key == "pid" {
		if pid := int(number(l.value)); pid > 0 && len(u.processes) < maxList {
			u.processes = append(u.processes, process{pid: pid})
		}
		return
	}
	if len(u.processes) > 0 {
		u.processes[len(u.processes)-1].hear(l, boot, ticks)
		return
	}
	switch l.key {
	case "show":
		u.said, u.exec = properties(l.value)
	case "places":
		u.places = variables(l.value)
	case "owner":
		f := strings.Fields(l.value)
		if len(f) == 3 && ids.MatchString(f[0]) && ids.MatchString(f[1]) {
			u.uid, u.gid, u.userHome = f[0], f[1], absolute(f[2])
		}
	}
}

func (p *process) hear(l line, boot, ticks int64) {
	switch l.key {
	case "exe":
		p.exe = clean(l.value)
	case "sum":
		if s := strings.TrimSpace(l.value); sums.MatchString(s) {
			p.sum = s
		}
	case "args":
		p.args = strings.Split(strings.TrimSuffix(l.value, "\n"), "\n")
	case "ids":
		if f := strings.Fields(l.value); len(f) == 2 && ids.MatchString(f[0]) && ids.MatchString(f[1]) {
			p.uid, p.gid = f[0], f[1]
		}
	case "stat":
		p.since = started(l.value, boot, ticks)
	case "names":
		p.names = slices.DeleteFunc(strings.Fields(l.value), func(s string) bool { return !variable.MatchString(s) })
	case "places":
		p.places = variables(l.value)
	case "open":
		for s := range strings.Lines(l.value) {
			if s = absolute(s); s != "" && len(p.open) < maxList {
				p.open = append(p.open, s)
			}
		}
	}
}

var (
	ids      = regexp.MustCompile(`^[0-9]{1,10}$`)
	sums     = regexp.MustCompile(`^[0-9a-f]{64}$`)
	nodeIDs  = regexp.MustCompile(`^[0-9a-f]{40}$`)
	variable = regexp.MustCompile(`^[A-Za-z_][A-Za-z0-9_]{0,127}$`)
	// UnitName is what the name of a service may be.
	UnitName = regexp.MustCompile(`^[A-Za-z0-9:_.@\\-]{1,200}\.service$`)
)

func number(s string) int64 {
	n, err := strconv.ParseInt(strings.TrimSpace(s), 10, 64)
	if err != nil || n < 0 {
		return 0
	}
	return n
}

// absolute is a path that can be asked for again; "" where it cannot.
func absolute(s string) string {
	s = strings.TrimSpace(s)
	if !path.IsAbs(s) || clean(s) != s || len(s) > maxText {
		return ""
	}
	return path.Clean(s)
}

// started is when a process began, by field 22 of its stat.
func started(stat string, boot, ticks int64) time.Time {
	i := strings.LastIndexByte(stat, ')') // its name may hold anything
	if i < 0 || boot <= 0 || boot > 1<<40 {
		return time.Time{}
	}
	f := strings.Fields(stat[i+1:])
	if len(f) < 20 {
		return time.Time{}
	}
	n := number(f[19])
	if n > 1<<50 {
		return time.Time{}
	}
	return time.Unix(boot+n/ticks, 0).UTC()
}

// variables reads lines of NAME=VALUE, each perhaps in quotes as systemctl has it.
func variables(s string) map[string]string {
	out := map[string]string{}
	for l := range strings.Lines(s) {
		l = strings.Trim(strings.TrimSpace(l), `"`)
		name, value, ok := strings.Cut(l, "=")
		if ok && variable.MatchString(name) && len(out) < maxList {
			out[name] = value
		}
	}
	return out
}

// properties reads what systemctl show prints.
func properties(s string) (said map[string]string, exec [][]string) {
	said = map[string]string{}
	for l := range strings.Lines(s) {
		key, value, ok := strings.Cut(strings.TrimSuffix(l, "\n"), "=")
		if !ok {
			continue
		}
		if key == "ExecStart" {
			if argv := arguments(value); len(argv) > 0 && len(exec) < maxList {
				exec = append(exec, argv)
			}
		}
		if before, more := said[key]; more {
			value = before + " " + value
		}
		said[key] = value
	}
	return said, exec
}

// arguments are those of a command as systemctl shows it: { path=P ; argv[]=A B C ; ignore_errors=no ; ... }. It does not
// say where an argument with spaces ends; one that matters is looked up in the process.
func arguments(s string) []string {
	_, s, ok := strings.Cut(s, "argv[]=")
	if !ok {
		return nil
	}
	s, _, _ = strings.Cut(s, " ; ")
	return strings.Fields(s)
}

// since reads a time as systemctl --timestamp=unix has it.
func since(s string) time.Time {
	n := number(strings.TrimPrefix(s, "@"))
	if n == 0 || n > 1<<40 {
		return time.Time{}
	}
	return time.Unix(n, 0).UTC()
}
