package supervisor

import (
	"strings"
	"testing"
	"time"

	"github.com/pressenter/pressenter/internal/comet"
	"github.com/pressenter/pressenter/internal/health"
)

func TestJudge(t *testing.T) {
	well := view{
		answering: true, answered: true, height: 100, peers: 2, wanted: 2, blockTime: time.Second, sinceRevival: time.Hour,
	}
	with := func(change func(*view)) view {
		v := well
		change(&v)
		return v
	}
	upgrade := &comet.UpgradeInfo{Name: "v2", Height: 100}
	permanent := &diagnosis{finding: health.Finding{Code: "halt-height"}, retry: retryOnChange}
	passing := &diagnosis{finding: health.Finding{Code: "disk-full"}}
	for _, tt := range []struct {
		name    string
		view    view
		phase   Phase
		code    string // of the one finding
		restart bool
	}{
		{"well", well, Running, "", false},
		{"a long block", with(func(v *view) { v.still = 59 * time.Second }), Running, "", false},
		{"slow chain", with(func(v *view) { v.still = 100 * time.Second; v.blockTime = 6 * time.Second }), Running, "", false},
		{"network stands still", with(func(v *view) { v.still = 2 * time.Minute }), Running, "no-new-blocks", false},
		{"sync stands still", with(func(v *view) { v.still = 2 * time.Minute; v.catchingUp = true }), Running, "sync-still", false},
		{"no first block", with(func(v *view) { v.still = time.Hour; v.height = 0 }), Running, "no-first-block", false},
		{"cut off", with(func(v *view) { v.still = time.Hour; v.peers = 0 }), Running, "", false},
		{"other state than the network", with(func(v *view) { v.still, v.peers, v.forked = 2*time.Minute, 0, true }), Frozen, "wrong-app-hash", false},
		{"somebody wrote so", with(func(v *view) { v.still, v.forked = time.Second, true }), Running, "", false},
		{"alone by design", with(func(v *view) { v.still = time.Hour; v.peers, v.wanted = 0, 0 }), Running, "no-new-blocks", false},

		{"starts", with(func(v *view) { v.answering, v.answered = false, false; v.silent = 4 * time.Minute }), Starting, "", false},
		{"starts slowly", with(func(v *view) { v.answering, v.answered = false, false; v.silent = 5 * time.Hour }), Starting, "slow-start", false},
		{"waits for the genesis", with(func(v *view) {
			v.answering, v.answered, v.silent = false, false, time.Hour
			v.genesis, v.sinceGenesis = time.Unix(1<<31, 0), -365*24*time.Hour
		}), Starting, "before-genesis", false},
		{"the genesis is soon", with(func(v *view) {
			v.answering, v.answered = false, false
			v.genesis, v.sinceGenesis = time.Unix(1<<31, 0), -time.Second
		}), Starting, "", false},
		{"the genesis was now", with(func(v *view) {
			v.answering, v.answered = false, false
			v.genesis, v.sinceGenesis = time.Unix(1<<31, 0), time.Second
		}), Starting, "", false},
		{"the clock was set right", with(func(v *view) {
			v.answering, v.answered, v.silent = false, false, time.Minute
			v.genesis, v.sinceGenesis = time.Unix(1<<31, 0), time.Minute
		}), Starting, "", true},
		{"misses an answer", with(func(v *view) { v.answering = false; v.silent = time.Minute }), Running, "", false},
		{"silent", with(func(v *view) { v.answering = false; v.silent = 3 * time.Minute }), Frozen, "rpc-silent", true},
		{"silent again", with(func(v *view) { v.answering = false; v.silent = 3 * time.Minute; v.sinceRevival = 5 * time.Minute }), Frozen, "rpc-silent", false},

		{"upgrade", with(func(v *view) { v.still = time.Minute; v.upgrade = upgrade }), Frozen, codeUpgrade, false},
		{"upgrade, one block before", with(func(v *view) { v.still = time.Minute; v.upgrade = upgrade; v.height = 99 }), Frozen, codeUpgrade, false},
		{"upgrade, said so", with(func(v *view) { v.still = 6 * time.Second; v.upgrade = upgrade; v.halted = true }), Frozen, codeUpgrade, false},
		{"upgrade, this instant", with(func(v *view) { v.still = time.Second; v.upgrade = upgrade; v.halted = true }), Running, "", false},
		{"upgrade, new binary", with(func(v *view) { v.still = time.Minute; v.upgrade = upgrade; v.binaryChanged = true }), Frozen, codeUpgrade, true},
		{"upgrade passed", with(func(v *view) { v.still = time.Minute; v.upgrade = upgrade; v.height = 101 }), Running, "no-new-blocks", false},
		{"upgrade to come", with(func(v *view) { v.still = time.Minute; v.upgrade = upgrade; v.height = 50 }), Running, "no-new-blocks", false},

		{"halt height", with(func(v *view) { v.still = 6 * time.Second; v.halted = true; v.cause = permanent }), Frozen, "halt-height", false},
		{"halt height, new binary", with(func(v *view) {
			v.still = 6 * time.Second
			v.halted, v.cause, v.binaryChanged = true, permanent, true
		}), Frozen, "halt-height", true},
		{"disk was full", with(func(v *view) { v.still = 6 * time.Second; v.halted = true; v.cause = passing }), Frozen, "disk-full", true},
		{"disk is full", with(func(v *view) {
			v.still = 6 * time.Second
			v.halted, v.cause, v.sinceRevival = true, passing, time.Minute
		}), Frozen, "disk-full", false},
		{"consensus stopped", with(func(v *view) { v.still = 6 * time.Second; v.halted = true }), Frozen, "consensus-stopped", true},
		{"somebody wrote the words", with(func(v *view) { v.still = time.Second; v.halted = true }), Running, "", false},
		{"staged binary", with(func(v *view) { v.binaryChanged = true }), Running, "", false},
	} {
		t.Run(tt.name, func(t *testing.T) {
			got := judge(tt.view)
			code := ""
			if len(got.findings) > 0 {
				code = got.findings[0].Code
			}
			if got.phase != tt.phase || code != tt.code || (got.restart != "") != tt.restart || len(got.findings) > 1 {
				t.Errorf("got %+v, want phase %s, finding %q, restart %v", got, tt.phase, tt.code, tt.restart)
			}
		})
	}
}

// A clock that is behind is said whatever else is, first, because it may be the reason.
func TestJudgeClock(t *testing.T) {
	for _, tt := range []struct {
		name  string
		view  view
		codes string
		grade health.Severity // of the first
	}{
		{"agrees", view{answering: true, ahead: time.Second}, "", ""},
		{"old blocks", view{answering: true, ahead: -365 * 24 * time.Hour, catchingUp: true}, "", ""},
		{"behind", view{answering: true, ahead: 11 * time.Second}, "clock-behind", health.Warning},
		{"votes against blocks", view{answering: true, ahead: time.Minute, height: 7, still: time.Second}, "clock-behind", health.Critical},
		{"and nothing comes", view{answering: true, ahead: time.Hour, height: 7, still: 2 * time.Minute}, "clock-behind no-new-blocks", health.Critical},
		{"no answer", view{answered: true, ahead: time.Hour}, "", ""},
	} {
		got := judge(tt.view)
		var codes []string
		for _, f := range got.findings {
			codes = append(codes, f.Code)
		}
		if strings.Join(codes, " ") != tt.codes || len(codes) > 0 && got.findings[0].Severity != tt.grade || got.restart != "" {
			t.Errorf("%s: %+v", tt.name, got)
		}
	}
}

func TestJudgeLinks(t *testing.T) {
	up := link{name: "a"}
	gone := func(missing, dialable time.Duration) link {
		return link{name: "b", missing: missing, dialable: dialable}
	}
	const ever = 1<<63 - 1
	for _, tt := range []struct {
		name    string
		view    linksView
		codes   string
		restart bool
	}{
		{"none wanted", linksView{since: ever}, "", false},
		{"all there", linksView{links: []link{up, up}, since: ever}, "", false},
		{"just left", linksView{links: []link{up, gone(5*time.Second, 5*time.Second)}, since: ever}, "", false},
		{"just started", linksView{links: []link{gone(5*time.Second, 0)}, since: ever}, "", false},
		{"one down", linksView{links: []link{up, gone(time.Minute, 0)}, since: ever}, "peer-unreachable", false},
		{"one missing", linksView{links: []link{up, gone(time.Minute, time.Minute)}, since: ever}, "peer-missing", false},
		{"one given up", linksView{links: []link{up, gone(time.Hour, 31*time.Minute)}, since: ever}, "peer-missing", true},
		{"one came back up late", linksView{links: []link{up, gone(time.Hour, time.Minute)}, since: ever}, "peer-missing", false},
		{"one given up, just tried", linksView{links: []link{up, gone(time.Hour, time.Hour)}, since: time.Minute}, "peer-missing", false},
		{"cut off", linksView{links: []link{gone(31*time.Second, 11*time.Second), gone(time.Hour, 0)}, since: ever}, "cut-off", true},
		{"cut off, just reachable again", linksView{links: []link{gone(time.Hour, 5*time.Second)}, since: ever}, "cut-off", false},
		{"cut off a moment", linksView{links: []link{gone(20*time.Second, 20*time.Second)}, since: ever}, "cut-off", false},
		{"one of them a moment", linksView{links: []link{gone(20*time.Second, time.Second), gone(time.Hour, time.Hour)}, since: ever}, "cut-off", false},
		{"nobody there", linksView{links: []link{gone(time.Hour, 0)}, since: ever}, "peers-unreachable", false},
		{"cut off from ours only", linksView{links: []link{gone(time.Minute, time.Minute)}, others: 3, since: ever}, "peer-missing", false},
		{"tried a minute ago", linksView{links: []link{gone(time.Minute, time.Minute)}, since: time.Minute}, "cut-off", false},
		{"tried three minutes ago", linksView{links: []link{gone(time.Minute, time.Minute)}, since: 3 * time.Minute}, "cut-off", true},
		{"tried often", linksView{links: []link{gone(time.Minute, time.Minute)}, since: 3 * time.Minute, tries: 2}, "cut-off", false},
		{"tried very often", linksView{links: []link{gone(time.Hour, time.Hour)}, since: 31 * time.Minute, tries: 50}, "cut-off", true},
	} {
		t.Run(tt.name, func(t *testing.T) {
			found, restart := judgeLinks(tt.view)
			var codes []string
			for _, f := range found {
				codes = append(codes, f.Code)
			}
			if got := strings.Join(codes, " "); got != tt.codes || (restart != "") != tt.restart {
				t.Errorf("got %q, restart %q; want %q, %v", got, restart, tt.codes, tt.restart)
			}
		})
	}
}
