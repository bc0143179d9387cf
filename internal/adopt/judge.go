package adopt

import (
	"path"
	"slices"
	"strings"

	"github.com/pressenter/pressenter/internal/health"
)

// understood are the flags of start that change nothing that a takeover has to know.
var understood = []string{"home", "log_level", "log_format", "log_no_color", "trace", "x-crisis-skip-assert-invariants"}

// unitNotes tells what of the unit and its processes is not understood.
func (f *Found) unitNotes(u unit, main *process, argv []string) {
	if main == nil {
		f.note("not-running", health.Warning, "No daemon runs in %s, which is %s: what it would start is read from the unit alone.", u.name, f.Unit.State)
	}
	if len(u.exec) > 1 {
		f.note("unit-commands", health.Warning, "The unit has %d start commands.", len(u.exec))
	}
	for _, key := range []string{"ExecCondition", "ExecStartPre", "ExecStartPost", "ExecReload", "ExecStop", "ExecStopPost"} {
		if u.said[key] != "" && key != "ExecReload" {
			program := "another program"
			if a := arguments(u.said[key]); len(a) > 0 {
				program = clean(a[0])
			}
			f.note("unit-hooks", health.Warning, "%s runs %s: what for is not understood, and it would not run any more.", key, program)
		}
	}
	for _, key := range []string{"OnFailure", "OnSuccess", "Upholds"} {
		if s := words(u.said[key]); len(s) > 0 {
			f.note("unit-follows", health.Critical, "%s of it is %s: what that does once the unit is down, as a failover would, is not understood.", key, strings.Join(s, ", "))
		}
	}
	if s := u.said["EnvironmentFiles"]; s != "" {
		file, _, _ := strings.Cut(s, " (")
		f.note("unit-environment", health.Warning, "It takes variables from %s, which was not read: it may hold secrets.", clean(file))
	}
	for _, key := range []string{"RootDirectory", "RootImage", "BindPaths", "BindReadOnlyPaths", "TemporaryFileSystem", "MountImages"} {
		if u.said[key] != "" {
			f.note("unit-root", health.Critical, "The unit has %s: paths mean something else to the daemon than to who looks.", key)
		}
	}
	if u.said["NeedDaemonReload"] == "yes" {
		f.note("unit-stale", health.Warning, "The unit's files were changed since systemd read them: the next start is not as this one was.")
	}
	if len(f.Unit.Starters) > 0 {
		f.note("unit-starters", health.Warning, "It is also started or wanted by %s: masking has to hold against these, too.", strings.Join(f.Unit.Starters, ", "))
	}
	if main == nil {
		return
	}
	if strings.HasSuffix(main.exe, " (deleted)") {
		f.note("program-replaced", health.Warning, "The program's file was replaced since it started: the next start runs another one.")
	}
	if main.uid == "0" {
		f.note("root", health.Info, "The daemon runs as root. Under pressenter it would not.")
	}
	for _, a := range argv[min(1, len(argv)):] {
		name, isFlag := strings.CutPrefix(a, "--")
		if name, _, _ = strings.Cut(name, "="); isFlag && name != "" && len(f.Program.Flags) < maxList {
			f.Program.Flags = append(f.Program.Flags, clean(name))
		}
	}
	if odd := slices.DeleteFunc(slices.Clone(f.Program.Flags), func(s string) bool { return slices.Contains(understood, s) }); len(odd) > 0 {
		severity := health.Warning
		if strings.Contains(strings.Join(odd, " "), "priv_validator") {
			severity = health.Critical
		}
		f.note("flags", severity, "It was started with --%s, which overrule its files.", strings.Join(odd, ", --"))
	}
	if odd := overruling(path.Base(strings.TrimSuffix(main.exe, " (deleted)")), main.names); len(odd) > 0 {
		severity := health.Warning
		if strings.Contains(strings.Join(odd, " "), "PRIV_VALIDATOR") {
			severity = health.Critical // which key signs is not what the files say
		}
		f.note("variables", severity, "It has the variables %s, which overrule its files. Their values were not read.", clean(strings.Join(odd, ", ")))
	}
}

// overruling are variables by which a daemon's settings are set: its name in capitals before a setting's.
func overruling(daemon string, names []string) []string {
	prefix := strings.ToUpper(strings.ReplaceAll(daemon, "-", "_")) + "_"
	var odd []string
	for _, n := range names {
		if strings.HasPrefix(n, prefix) && n != prefix+"HOME" || strings.HasPrefix(n, "CMT_") && n != "CMTHOME" || strings.HasPrefix(n, "TM_") {
			odd = append(odd, n)
		}
	}
	slices.Sort(odd)
	return odd[:min(len(odd), maxList)]
}

// othersNotes tells what else on the server looks like a daemon: it could have the same key.
func (f *Found) othersNotes(t told, u unit) {
	group := clean(u.said["ControlGroup"])
	for _, at := range t.running {
		if group == "" || at != group && !strings.HasPrefix(at, group+"/") {
			f.note("other-daemon", health.Critical, "Another program that looks like a chain's daemon runs in %s: whether it has the same key was not looked at.", at)
		}
	}
}

// role judges by what the chain says, and where it says nothing by what the key did.
func (f *Found) role() Role {
	switch {
	case f.Key.Power > 0 || f.Key.Remote != "" || f.Key.Mark.Height > 0:
		return RoleValidator
	case !f.Node.Answers && !f.Key.Mark.Known && f.Key.Address != "":
		return RoleUnknown // a key without a sign state may have signed on another host
	case f.Node.Private > 0:
		return RoleSentry
	case f.Node.Answers || f.Node.ChainID != "":
		return RoleFull
	}
	return RoleUnknown
}
