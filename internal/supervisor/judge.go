package supervisor

import (
	"fmt"
	"time"

	"github.com/pressenter/pressenter/internal/comet"
	"github.com/pressenter/pressenter/internal/health"
)

// How long things may last before they mean something.
const (
	stillBlocks  = 20               // block times without a new block
	stillMin     = time.Minute      // and never less than this
	haltedBlocks = 3                // the same, when consensus has said that it stopped
	haltedMin    = 5 * time.Second  // and never less than this
	silentRun    = 2 * time.Minute  // RPC, after it had answered
	silentStart  = 5 * time.Minute  // RPC, before its first answer: replays and migrations take their time
	clockAhead   = 10 * time.Second // a block that is so much in the future: more than clocks that are kept differ by
	clockVotes   = time.Minute      // a block that is so much in the future is invalid: state/validation.go of CometBFT 0.38.26, 0.40.0
	genesisNear  = time.Minute      // a genesis time: before it nothing is told, and after it a daemon may begin by itself
	reviveEvery  = 10 * time.Minute // between restarts of a daemon that runs but does nothing
)

// view is what is known about a daemon that runs.
type view struct {
	answering  bool          // RPC answered the last time
	answered   bool          // it ever did in this run
	silent     time.Duration // since it last did, or since the start
	height     int64
	still      time.Duration // since the height last grew, or since the start
	catchingUp bool
	peers      int // connected, wanted or not
	wanted     int // wanted peers
	blockTime  time.Duration
	ahead      time.Duration // the newest block's time, from now by this host's clock; negative where the block is old

	upgrade       *comet.UpgradeInfo // written in this run
	halted        bool               // consensus has said that it stopped
	cause         *diagnosis         // what the output says about that, if anything
	forked        bool               // the output says that the state here is not the network's
	binaryChanged bool               // the wanted executable is another one than what runs
	genesis       time.Time          // what the output says that the daemon sleeps until; zero if it does not
	sinceGenesis  time.Duration      // by this host's clock; negative while it is to come
	sinceRevival  time.Duration
}

// verdict is what to make of it.
type verdict struct {
	phase    Phase
	findings []health.Finding
	restart  string // why to stop and start the daemon; "" to let it run
}

// What is said holds no number that grows while it holds, or the report would be written anew all the time.

// judge decides about a daemon that runs. A daemon that has reached an upgrade or halt height stays up and does nothing,
// so it is the height that is watched, never the process.
func judge(v view) verdict {
	out := judgeHeight(v)
	if v.answering && v.ahead > clockAhead {
		out.findings = append([]health.Finding{v.clockBehind()}, out.findings...)
	}
	return out
}

func judgeHeight(v view) verdict {
	switch {
	case !v.answering:
		return judgeSilent(v)
	case v.halted && v.still >= max(haltedBlocks*v.blockTime, haltedMin):
		return judgeHalted(v)
	case v.still >= v.stillLimit():
		return judgeStill(v)
	}
	return verdict{phase: Running}
}

// clockBehind is what to say where the chain is in the future. Its time is the median of its validators' clocks.
func (v view) clockBehind() health.Finding {
	f := health.Finding{
		Code: "clock-behind", Severity: health.Warning,
		Message: "This host's clock is more than " + rough(clockAhead) + " behind the chain's.",
		Next:    "See 'timedatectl' and set it right. Nodes call blocks invalid that are more than a minute ahead of their clock.",
	}
	if v.ahead >= clockVotes {
		f.Severity = health.Critical
		f.Message = "This host's clock is more than a minute behind the chain's: the node calls every new block invalid, and a validator votes against it."
		f.Next = "See 'timedatectl' and set it right. The node then goes on by itself."
	}
	return f
}

// stillLimit is how long a chain of this speed may go without a block.
func (v view) stillLimit() time.Duration { return max(stillBlocks*v.blockTime, stillMin) }

func judgeSilent(v view) verdict {
	switch {
	case !v.answered && !v.genesis.IsZero():
		return judgeEarly(v)
	case !v.answered && v.silent < silentStart:
		return verdict{phase: Starting}
	case !v.answered:
		return verdict{phase: Starting, findings: []health.Finding{{
			Code: "slow-start", Severity: health.Warning,
			Message: "The node runs for more than " + rough(silentStart) + " and does not answer yet. It may replay blocks or migrate its state.",
			Next:    "Wait, and see the log.",
		}}}
	case v.silent < silentRun:
		return verdict{phase: Running}
	}
	out := verdict{phase: Frozen, findings: []health.Finding{{
		Code: "rpc-silent", Severity: health.Critical,
		Message: "The node runs but has not answered for more than " + rough(silentRun) + ".",
		Next:    "See the log. It is restarted by itself, not more than once in ten minutes.",
	}}}
	if v.sinceRevival >= reviveEvery {
		out.restart = "it had not answered for " + rough(v.silent)
	}
	return out
}

// judgeEarly decides while the daemon sleeps until the chain's genesis time. It sleeps for as long as it was until then when
// it started, so one that started while the clock was wrong would not notice that it was set right.
func judgeEarly(v view) verdict {
	switch {
	case v.sinceGenesis >= genesisNear:
		return verdict{phase: Starting, restart: "this host's clock has passed the chain's genesis time, and the node still slept until then"}
	case v.sinceGenesis > -genesisNear:
		return verdict{phase: Starting}
	}
	return verdict{phase: Starting, findings: []health.Finding{{
		Code: "before-genesis", Severity: health.Critical,
		Message: fmt.Sprintf("The node waits for the chain's genesis time, %s, which is to come by this host's clock.", v.genesis.UTC().Format(time.RFC3339)),
		Next:    "Nothing if the chain begins then. If it has begun, this host's clock is behind: see 'timedatectl' and set it. The node then starts by itself.",
	}}}
}

// judgeHalted decides when consensus has stopped inside a process that goes on.
func judgeHalted(v view) verdict {
	if v.upgradeDue() {
		return v.upgradeNeeded()
	}
	if v.cause != nil {
		out := verdict{phase: Frozen, findings: []health.Finding{v.cause.finding}}
		switch {
		case v.binaryChanged:
			out.restart = "another binary was put in place"
		case v.cause.retry != retryOnChange && v.sinceRevival >= reviveEvery:
			out.restart = "its consensus had stopped (" + v.cause.finding.Code + ")"
		}
		return out
	}
	out := verdict{phase: Frozen, findings: []health.Finding{{
		Code: "consensus-stopped", Severity: health.Critical,
		Message: fmt.Sprintf("The node's consensus has stopped at height %d, although the process goes on.", v.height),
		Next:    "See the log for CONSENSUS FAILURE. It is restarted by itself, not more than once in ten minutes.",
	}}}
	if v.binaryChanged || v.sinceRevival >= reviveEvery {
		out.restart = fmt.Sprintf("its consensus had stopped at height %d", v.height)
	}
	return out
}

// judgeStill decides when there are no new blocks and the node gives no reason.
func judgeStill(v view) verdict {
	about := func(s health.Severity, code, message, next string) verdict {
		return verdict{phase: Running, findings: []health.Finding{{Code: code, Severity: s, Message: message, Next: next}}}
	}
	switch {
	case v.upgradeDue():
		return v.upgradeNeeded()
	case v.forked: // a node that syncs goes on asking, and drops whoever sends it the right blocks
		d := recognise([]byte(wrongHeaderHash))
		return verdict{phase: Frozen, findings: []health.Finding{d.finding}}
	case v.wanted > 0 && v.peers == 0:
		return verdict{phase: Running} // what is said about its peers is the reason
	case v.height == 0:
		return about(health.Info, "no-first-block",
			"The chain has no block yet: its time has not come, or fewer than two thirds of its validators are there.", "Wait.")
	case v.catchingUp:
		return about(health.Warning, "sync-still",
			fmt.Sprintf("The node is behind and has not come forward for more than %s (height %d).", rough(v.stillLimit()), v.height),
			"See the log. Peers that have the missing blocks may be needed.")
	}
	return about(health.Warning, "no-new-blocks",
		fmt.Sprintf("No new block for more than %s at height %d. The whole network may stand still.", rough(v.stillLimit()), v.height),
		"See whether other nodes have newer blocks. It is not restarted: that would not help.")
}

// upgradeDue says whether the node stands at the height of an upgrade that it asks for.
func (v view) upgradeDue() bool {
	if v.upgrade == nil || v.upgrade.Height <= 0 {
		return false
	}
	h := int64(v.upgrade.Height)
	return v.height == h || v.height == h-1
}

func (v view) upgradeNeeded() verdict {
	out := verdict{phase: Frozen, findings: []health.Finding{{
		Code: codeUpgrade, Severity: health.Critical,
		Message: fmt.Sprintf("The chain has reached upgrade %q at height %d and this binary is the old one.", v.upgrade.Name, v.upgrade.Height),
		Next:    "Put the upgrade's binary in place; the node starts with it by itself.",
	}}}
	if v.binaryChanged {
		out.restart = fmt.Sprintf("the binary for upgrade %q was put in place", v.upgrade.Name)
	}
	return out
}

// rough is d for people.
func rough(d time.Duration) string {
	switch {
	case d < 2*time.Minute:
		return fmt.Sprintf("%d seconds", int(d.Seconds()))
	case d < 2*time.Hour:
		return fmt.Sprintf("%d minutes", int(d.Minutes()))
	}
	return fmt.Sprintf("%d hours", int(d.Hours()))
}
