package sshtest

import (
	"errors"
	"io"
	"net"
	"os"
	"os/exec"
	"path/filepath"
	"strconv"
	"syscall"

	"golang.org/x/crypto/ssh"
)

// session takes a channel for one command, if there may be one more.
func (v *visit) session(ch ssh.NewChannel) {
	if v.at(AtSession) != nil {
		return
	}
	v.mu.Lock()
	full := v.sessions >= v.MaxSessions
	if !full {
		v.sessions++
	}
	v.mu.Unlock()
	if full {
		ch.Reject(ssh.ConnectionFailed, "open failed") // what OpenSSH says of MaxSessions
		return
	}
	channel, requests, err := ch.Accept()
	if err != nil {
		return
	}
	v.wait.Go(func() {
		(&run{visit: v, channel: channel}).serve(requests)
		channel.Close()
		v.mu.Lock()
		v.sessions--
		v.mu.Unlock()
	})
}

// run is one command on one channel.
type run struct {
	*visit
	channel ssh.Channel
	cmd     *exec.Cmd
}

func (r *run) serve(requests <-chan *ssh.Request) {
	ended := make(chan struct{})
	defer func() {
		if r.cmd == nil {
			return
		}
		r.channel.Close() // the command goes on as under OpenSSH, until it reads or writes
		select {
		case <-ended:
		case <-r.over:
			syscall.Kill(-r.cmd.Process.Pid, syscall.SIGKILL)
			<-ended
		}
	}()
	for {
		select {
		case req, ok := <-requests:
			if !ok {
				return
			}
			ok = r.request(req, ended)
			if req.WantReply {
				req.Reply(ok, nil)
			}
		case <-ended:
			r.cmd = nil
			return
		}
	}
}

func (r *run) request(req *ssh.Request, ended chan struct{}) bool {
	switch req.Type {
	case "pty-req":
		var p struct {
			Term          string
			Columns, Rows uint32
			Width, Height uint32
			Modes         string
		}
		ok := ssh.Unmarshal(req.Payload, &p) == nil
		r.resize(p.Columns, p.Rows)
		return ok
	case "window-change":
		var p struct{ Columns, Rows, Width, Height uint32 }
		ok := ssh.Unmarshal(req.Payload, &p) == nil
		r.resize(p.Columns, p.Rows)
		return ok
	case "exec":
		var p struct{ Line string }
		return ssh.Unmarshal(req.Payload, &p) == nil && r.cmd == nil && r.start(p.Line, ended)
	case "shell":
		return r.cmd == nil && r.start("exec /bin/sh", ended)
	case "signal":
		var p struct{ Name string }
		if ssh.Unmarshal(req.Payload, &p) == nil && r.cmd != nil && p.Name == "TERM" {
			syscall.Kill(-r.cmd.Process.Pid, syscall.SIGTERM)
		}
	}
	return false
}

// resize notes the size of a terminal in a file of Dir, for whoever asks there: there is no real terminal.
func (r *run) resize(columns, rows uint32) {
	size := strconv.Itoa(int(columns)) + "x" + strconv.Itoa(int(rows))
	os.WriteFile(filepath.Join(r.Dir, "terminal-size"), []byte(size), 0o600)
}

// start runs a line in a shell. Its group gets the signals, as under OpenSSH.
func (r *run) start(line string, ended chan struct{}) bool {
	r.Server.mu.Lock()
	r.commands = append(r.commands, line)
	r.Server.mu.Unlock()
	if r.at(AtCommand) != nil {
		return false
	}
	if r.Stand != nil {
		go func() {
			status := r.Stand(line, r.channel, r.channel)
			r.channel.SendRequest("exit-status", false, ssh.Marshal(struct{ Status uint32 }{status}))
			close(ended)
		}()
		return true
	}
	cmd := exec.Command("/bin/sh", "-c", line)
	cmd.Dir, cmd.Env = r.Dir, r.environment()
	cmd.SysProcAttr = &syscall.SysProcAttr{Setpgid: true}
	cmd.Stdout, cmd.Stderr = r.channel, r.channel.Stderr()
	stdin, err := cmd.StdinPipe()
	if err != nil {
		return false
	}
	if err := cmd.Start(); err != nil {
		return false
	}
	r.cmd = cmd
	r.Server.mu.Lock()
	r.running++
	r.Server.mu.Unlock()
	go func() { // ends with the channel
		io.Copy(stdin, r.channel)
		stdin.Close()
	}()
	go func() {
		err := cmd.Wait()
		r.Server.mu.Lock()
		r.running--
		r.Server.mu.Unlock()
		r.exit(err)
		close(ended)
	}()
	return true
}

func (r *run) exit(err error) {
	status := uint32(0)
	var exit *exec.ExitError
	if errors.As(err, &exit) {
		if w, ok := exit.Sys().(syscall.WaitStatus); ok && w.Signaled() {
			name := map[syscall.Signal]string{syscall.SIGTERM: "TERM", syscall.SIGKILL: "KILL"}[w.Signal()]
			r.channel.SendRequest("exit-signal", false, ssh.Marshal(struct {
				Name    string
				Core    bool
				Message string
				Lang    string
			}{Name: name}))
			return
		}
		status = uint32(exit.ExitCode())
	} else if err != nil {
		status = 255
	}
	r.channel.SendRequest("exit-status", false, ssh.Marshal(struct{ Status uint32 }{status}))
}

// environment is small, so that nothing of the test's own gets in. Its PATH has the sudo that is wanted.
func (s *Server) environment() []string {
	path := "/usr/local/sbin:/usr/local/bin:/usr/sbin:/usr/bin:/sbin:/bin"
	if s.Sudo != "" {
		path = s.stubs()
	}
	if s.Path != "" {
		path = s.Path + ":" + path
	}
	return []string{"PATH=" + path, "HOME=" + s.Dir, "TMPDIR=" + s.Dir, "USER=" + s.User, "LANG=C"}
}

// needed are the programs that a server without the others still has.
var needed = []string{
	"awk", "cat", "chmod", "cut", "dd", "df", "env", "gzip", "head", "ls", "mkdir", "mv", "rm", "sh", "sha256sum", "sleep", "sync",
	"true", "uname", "wc",
}

// stubs makes a folder with an id that is not root's, with a sudo, and with no others than the needed programs.
func (s *Server) stubs() string {
	dir := filepath.Join(s.Dir, ".programs")
	if _, err := os.Stat(dir); err == nil {
		return dir
	}
	// Made aside and named at once, because several commands may begin together.
	made, err := os.MkdirTemp(s.Dir, ".programs")
	if err != nil {
		s.t.Error(err)
		return "/nonexistent"
	}
	script := func(name, text string) {
		if err := os.WriteFile(filepath.Join(made, name), []byte("#!/bin/sh\n"+text+"\n"), 0o755); err != nil {
			s.t.Error(err)
		}
	}
	script("id", "if [ \"${SSHTEST_ROOT:-}\" ]; then echo 0; else echo 1000; fi")
	switch s.Sudo {
	case "ok":
		script("sudo", "[ \"$1\" = -n ] && shift; [ \"$1\" = -- ] && shift; SSHTEST_ROOT=1; export SSHTEST_ROOT; exec \"$@\"")
	case "password":
		script("sudo", "echo 'sudo: a password is required' >&2; exit 1")
	}
	for _, name := range needed {
		if real, err := exec.LookPath(name); err == nil {
			os.Symlink(real, filepath.Join(made, name))
		}
	}
	os.Rename(made, dir) // another one is as good
	return dir
}

// forward connects two ends, as a bastion does.
func (v *visit) forward(ch ssh.NewChannel) {
	var p struct {
		Host       string
		Port       uint32
		OriginHost string
		OriginPort uint32
	}
	if !v.Forward || ssh.Unmarshal(ch.ExtraData(), &p) != nil {
		ch.Reject(ssh.Prohibited, "administratively prohibited: open failed")
		return
	}
	out, err := net.Dial("tcp", net.JoinHostPort(p.Host, strconv.Itoa(int(p.Port))))
	if err != nil {
		ch.Reject(ssh.ConnectionFailed, "Connection refused")
		return
	}
	defer out.Close()
	in, requests, err := ch.Accept()
	if err != nil {
		return
	}
	go ssh.DiscardRequests(requests)
	v.Server.mu.Lock()
	v.conns[out] = true
	v.Server.mu.Unlock()
	done := make(chan struct{})
	go func() {
		io.Copy(out, in)
		out.Close()
		close(done)
	}()
	io.Copy(in, out)
	in.Close()
	<-done
	v.Server.mu.Lock()
	delete(v.conns, out)
	v.Server.mu.Unlock()
}
