package supervisor

import (
	"bytes"
	"debug/elf"
	"debug/macho"
	"errors"
	"fmt"
	"io/fs"
	"net"
	"os"
	"regexp"
	"runtime"
	"strconv"
	"strings"
	"syscall"
	"time"

	"github.com/pressenter/pressenter/internal/health"
	"github.com/pressenter/pressenter/internal/process"
)

// Codes of findings that code branches on.
const (
	codePort    = "port-in-use"
	codeUpgrade = "upgrade-needed"
	codeRecent  = "recent-signature"
)

// recentMax is how long a node may find its own signatures before that is no longer normal.
const recentMax = 5 * time.Minute

// maxWords is how much of a line of the daemon's is repeated in a finding.
const maxWords = 300

// retry says when another start makes sense.
type retry int

const (
	retryBackoff  retry = iota // after a while that grows
	retrySoon                  // after a short while, as often as it takes
	retryOnChange              // not before something changed: a start cannot help
)

// diagnosis is why a daemon ended or stands still.
type diagnosis struct {
	finding health.Finding
	retry   retry
	detail  string // what the rule's expression caught
}

// rule recognises one cause in the daemon's output.
type rule struct {
	code     string
	pattern  *regexp.Regexp
	severity health.Severity
	retry    retry
	message  string // %s is what the expression's group caught
	next     string
}

// rules are in order of precedence: of several that match, the first is the cause and the others are its consequences.
var rules = []rule{
	{
		codeUpgrade, regexp.MustCompile(`UPGRADE \\?"([^"\\\n]{1,200})\\?" NEEDED`), health.Critical, retryOnChange,
		"The chain has reached upgrade %q and this binary is the old one.",
		"Put the upgrade's binary in place; the node starts with it by itself.",
	},
	{
		"binary-too-new", regexp.MustCompile(`BINARY UPDATED BEFORE TRIGGER`), health.Critical, retryOnChange,
		"The binary is that of an upgrade which the chain has not reached yet.",
		"Put the chain's present binary back; the node starts with it by itself.",
	},
	{
		"binary-too-old", regexp.MustCompile(`upgrade handler is missing for (\S{1,100})`), health.Critical, retryOnChange,
		"The chain has passed upgrade %s and this binary is from before it.",
		"Put the upgrade's binary in place; the node starts with it by itself.",
	},
	{
		"halt-height", regexp.MustCompile(`halt per configuration`), health.Critical, retryOnChange,
		"The node stands at the halt height or halt time of its configuration.",
		"Remove halt-height or halt-time from the configuration when the chain may go on.",
	},
	{
		codeRecent, regexp.MustCompile(`found signature from the same key`), health.Info, retrySoon,
		"The node waits until its own signatures have left the blocks that it looks back on; so a second signer would be noticed.",
		"Nothing. If it lasts longer than some blocks, look for another node that signs with the same key.",
	},
	{
		"signer-absent", regexp.MustCompile(`can(?:'|no)t get pubkey|error with private validator socket client`), health.Critical, retrySoon,
		"The node ended because its signer did not connect in time.",
		"See whether the signer runs and can reach this node.",
	},
	{
		codePort, regexp.MustCompile(`listen (?:tcp[46]?|unix) (\S+?):? bind: address already in use`), health.Critical, retryBackoff,
		"The address %s that the node listens on is in use.",
		"End the process that uses it, or choose another port.",
	},
	{
		"disk-full", regexp.MustCompile(`no space left on device|disk quota exceeded`), health.Critical, retryBackoff,
		"The disk is full.",
		"Make room. Never delete priv_validator_state.json.",
	},
	{
		"database-locked", regexp.MustCompile(`resource temporarily unavailable|lock held by another process`), health.Critical, retryBackoff,
		"Another process has the node's database open.",
		"End that process; two daemons on one home destroy it.",
	},
	{
		"wrong-genesis", regexp.MustCompile(`genesis doc hash in db does not match|invalid chain-id on InitChain|error reading GenesisDoc|genesis\.json: no such file`),
		health.Critical, retryBackoff,
		"The genesis file is missing, or is not the one that this home was started with.",
		"Restore the chain's genesis file, or begin with an empty home.",
	},
	{
		"wrong-app-hash", regexp.MustCompile(wrongHeaderHash + `|AppHash does not match|[Aa]pp ?[Hh]ash mismatch`), health.Critical, retryBackoff,
		"The chain's state on this host is not the network's.",
		"Check that the binary is the network's; then sync the node anew from a snapshot. Keep priv_validator_state.json.",
	},
	{
		"wrong-flag", regexp.MustCompile(`(?m)^(?:Error: )?(unknown (?:shorthand )?(?:flag|command)[^\n]{0,200})`), health.Critical, retryBackoff,
		"The binary does not understand its command line: %s.",
		"See whether the binary is the one that the chain uses.",
	},
	{
		"bad-config", regexp.MustCompile(`(?m)(?:error in config file|failed to read in|failed to merge|error parsing|toml: )([^\n]{0,200})`),
		health.Critical, retryBackoff, "The node's configuration cannot be read: %s.", "Apply again.",
	},
	{
		"out-of-memory", regexp.MustCompile(`fatal error: runtime: out of memory|cannot allocate memory`), health.Critical, retryBackoff,
		"The node ran out of memory.", "Give the host more memory, or the node smaller caches.",
	},
	{
		"too-many-files", regexp.MustCompile(`too many open files`), health.Critical, retryBackoff,
		"The node may not open as many files as it needs.", "Raise the limit on open files (LimitNOFILE).",
	},
	{
		"permission-denied", regexp.MustCompile(`(?:open|mkdir|stat|unlinkat?) (\S{1,300}): permission denied`), health.Critical, retryBackoff,
		"The node may not use %s.", "Give the file to the user that the node runs as.",
	},
	{
		"panic", regexp.MustCompile(`(?m)^(?:panic|fatal error): ([^\n]{1,300})`), health.Critical, retryBackoff,
		"The daemon crashed: %s.", "See the log. It is started again by itself.",
	},
}

// wrongHeaderHash is what a node says about a block that follows from another state than its own.
const wrongHeaderHash = `wrong Block.Header.AppHash`

// halted is what consensus says before it stops for good while the process stays up.
var halted = []byte("CONSENSUS FAILURE!!!")

// What a daemon says before it sleeps until its chain's genesis time, without an answer to anybody, and where it says until when.
var (
	asleep  = regexp.MustCompile(`[^\n]*Genesis time is in the future[^\n]*`)
	genTime = regexp.MustCompile(`genTime"?[=:] ?"?([-+:.0-9TZ]{20,35})`)
)

// sleepsUntil is the time until which the daemon sleeps by its own words, or zero.
func sleepsUntil(output []byte) time.Time {
	said := genTime.FindSubmatch(asleep.Find(output))
	if said == nil {
		return time.Time{}
	}
	t, err := time.Parse(time.RFC3339Nano, string(said[1]))
	if err != nil {
		return time.Time{}
	}
	return t
}

// recognise finds the cause in the daemon's output; nil when no rule knows it.
func recognise(output []byte) *diagnosis {
	for _, rule := range rules {
		all := rule.pattern.FindAllSubmatch(output, -1)
		if len(all) == 0 {
			continue
		}
		last := all[len(all)-1]
		d := diagnosis{retry: rule.retry, finding: health.Finding{
			Code: rule.code, Severity: rule.severity, Message: rule.message, Next: rule.next,
		}}
		if len(last) > 1 {
			d.detail = words(last[1])
			d.finding.Message = strings.Replace(strings.Replace(rule.message, "%q", strconv.Quote(d.detail), 1), "%s", d.detail, 1)
		}
		return &d
	}
	return nil
}

// diagnose says why a daemon ended that nobody stopped, from how it ended and what it wrote last.
func diagnose(exit process.Exit, output []byte) diagnosis {
	output = ansi.ReplaceAll(output, nil)
	if exit.Killed() {
		return diagnosis{finding: health.Finding{
			Code: "killed", Severity: health.Critical,
			Message: "The daemon was killed (SIGKILL): by the kernel for want of memory, or by somebody.",
			Next:    "See the kernel's log for \"Out of memory\". It is started again by itself.",
		}}
	}
	if d := recognise(output); d != nil {
		return *d
	}
	how := "The daemon ended (" + exit.String() + ")."
	if line := lastLine(output); line != "" {
		how = "The daemon ended (" + exit.String() + "); its last words: " + line
	}
	return diagnosis{finding: health.Finding{
		Code: "exited", Severity: health.Critical, Message: how, Next: "See the log. It is started again by itself.",
	}}
}

// lastLine is the last line that says what went wrong, or else the last line at all.
func lastLine(output []byte) string {
	var last, wrong string
	for line := range bytes.Lines(output) {
		line = bytes.TrimSpace(line)
		if len(line) == 0 {
			continue
		}
		last = words(line)
		if bytes.HasPrefix(line, []byte("Error:")) || bytes.Contains(line, []byte("ERR ")) || bytes.Contains(line, []byte(`"level":"error"`)) {
			wrong = last
		}
	}
	if wrong != "" {
		return wrong
	}
	return last
}

// words makes a piece of the daemon's output fit to be shown: one line, no control characters, not too long.
func words(b []byte) string {
	s := strings.ToValidUTF8(string(b[:min(len(b), maxWords)]), "")
	return strings.TrimSpace(strings.Map(func(r rune) rune {
		if r < ' ' || r >= 0x7f && r < 0xa0 {
			return -1
		}
		return r
	}, s))
}

var ansi = regexp.MustCompile("\x1b\\[[0-9;]*[A-Za-z]")

// portOwner says who listens on the port of address, as far as can be known.
func portOwner(address string) string {
	_, p, err := net.SplitHostPort(address)
	if err != nil {
		return ""
	}
	port, err := strconv.ParseUint(p, 10, 16)
	if err != nil {
		return ""
	}
	id, name, err := process.Listener(uint16(port))
	if err != nil || id.IsZero() {
		return ""
	}
	return fmt.Sprintf(" It is used by %s (process %d).", name, id.PID)
}

// preflight looks at the binary before a start; nil when there is nothing against it.
func preflight(path string) *diagnosis {
	problem := func(code, message, next string) *diagnosis {
		return &diagnosis{retry: retryOnChange, finding: health.Finding{
			Code: code, Severity: health.Critical, Message: message, Next: next,
		}}
	}
	info, err := os.Stat(path)
	switch {
	case errors.Is(err, fs.ErrNotExist):
		return problem("binary-missing", fmt.Sprintf("There is no chain binary at %q.", path), "Apply again: it puts the binary in place.")
	case err != nil:
		return problem("binary-missing", fmt.Sprintf("The chain binary cannot be looked at: %v.", err), "Correct that; the node starts by itself.")
	case !info.Mode().IsRegular() || info.Mode().Perm()&0o111 == 0:
		return problem("binary-not-executable", fmt.Sprintf("%q is not an executable file.", path), "Make it executable; the node starts by itself.")
	}
	if other := builtFor(path); other != "" {
		return problem("wrong-architecture",
			fmt.Sprintf("The chain binary is built for %s; this host is %s/%s.", other, runtime.GOOS, runtime.GOARCH),
			"Put the binary for this host in place; the node starts by itself.")
	}
	return nil
}

// startDiagnosis says why the system refused to start the daemon.
func startDiagnosis(err error) diagnosis {
	d := diagnosis{finding: health.Finding{
		Code: "start-refused", Severity: health.Critical,
		Message: fmt.Sprintf("The daemon cannot be started: %v.", err), Next: "It is tried again by itself.",
	}}
	switch {
	case errors.Is(err, syscall.ENOEXEC):
		d.retry, d.finding.Code = retryOnChange, "binary-unusable"
		d.finding.Message = "The chain binary is no program that this system can run."
		d.finding.Next = "Put the binary for this host in place; the node starts by itself."
	case errors.Is(err, fs.ErrNotExist):
		d.retry, d.finding.Code = retryOnChange, "loader-missing"
		d.finding.Message = "The chain binary needs a loader or libraries that this host has not (a musl binary on glibc, or the reverse)."
		d.finding.Next = "Use a static build of the chain binary; the node starts by itself."
	case errors.Is(err, fs.ErrPermission):
		d.retry, d.finding.Code = retryOnChange, "binary-not-executable"
		d.finding.Message = "The system refuses to run the chain binary (permissions, or a disk mounted noexec)."
	case errors.Is(err, syscall.ENOSPC):
		d.finding.Code, d.finding.Message = "disk-full", "The disk is full."
		d.finding.Next = "Make room. Never delete priv_validator_state.json."
	}
	return d
}

// builtFor names the system that the executable is for if that is another one than ours; "" when it fits or is no
// program in a form that we know, such as a script.
func builtFor(path string) string {
	goos, machine := "", ""
	if f, err := elf.Open(path); err == nil {
		goos, machine = "linux", elfMachine(f.Machine)
		_ = f.Close()
	} else if f, err := macho.Open(path); err == nil {
		goos, machine = "darwin", machoCPU(f.Cpu)
		_ = f.Close()
	} else if f, err := macho.OpenFat(path); err == nil {
		goos, machine = "darwin", runtime.GOARCH // it is for several, most likely ours too
		_ = f.Close()
	}
	if goos == "" || goos == runtime.GOOS && machine == runtime.GOARCH {
		return ""
	}
	return goos + "/" + machine
}

func elfMachine(m elf.Machine) string {
	switch m {
	case elf.EM_X86_64:
		return "amd64"
	case elf.EM_AARCH64:
		return "arm64"
	}
	return strings.ToLower(strings.TrimPrefix(m.String(), "EM_"))
}

func machoCPU(c macho.Cpu) string {
	switch c {
	case macho.CpuAmd64:
		return "amd64"
	case macho.CpuArm64:
		return "arm64"
	}
	return c.String()
}
