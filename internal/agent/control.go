package agent

import (
	"context"
	"crypto/rand"
	"crypto/subtle"
	"encoding/json"
	"errors"
	"fmt"
	"io"
	"log/slog"
	"net"
	"net/http"
	"net/netip"
	"strconv"
	"strings"
	"time"

	"github.com/reprise-ci/reprise/internal/traffic"
)

// NewToken returns a token for one run.
func NewToken() string { return rand.Text() }

// ServerOptions are what an agent needs to serve.
type ServerOptions struct {
	// Token is asked of every caller. It must not be empty.
	Token string
	// Address is that of this agent as its callers see it: what a mock's name
	// server answers with. A mock without one serves no names.
	Address netip.Addr
	// Bind is the host that the ports of a mock are opened on; all if empty.
	Bind string
	// Version is that of this program; see [SameVersion].
	Version string
	// Log receives what is worth telling; nothing is logged if nil.
	Log *slog.Logger
}

// Validate reports what is missing.
func (o ServerOptions) Validate() error {
	if len(o.Token) < 16 {
		return errors.New("an agent needs a token of at least 16 characters")
	}
	return nil
}

// serverName is by what a client knows that it speaks with an agent, and not
// with whatever has taken its port.
const serverName = "reprise-agent"

// errNotLoaded is what every call before the snapshot gets.
var errNotLoaded = errors.New("no snapshot was loaded yet")

// control is the HTTP side that both agents share.
type control struct {
	opts ServerOptions
	mux  *http.ServeMux
}

func newControl(role string, opts ServerOptions) *control {
	if opts.Log == nil {
		opts.Log = slog.New(slog.DiscardHandler)
	}
	c := &control{opts: opts, mux: http.NewServeMux()}
	c.mux.HandleFunc("GET /healthz", func(w http.ResponseWriter, _ *http.Request) { fmt.Fprintln(w, "reprise agent "+role) })
	c.handle("POST /v1/reach", reach)
	return c
}

// reachTimeout bounds the wait for addresses that somebody said to be there.
const reachTimeout = time.Minute

// reach waits until each address takes a TCP connection from where the agent
// is: what routes there may be behind what the cluster's API says.
func reach(_ http.ResponseWriter, r *http.Request) error {
	var addresses []string
	if err := readJSON(r, &addresses); err != nil {
		return err
	}
	ctx, cancel := context.WithTimeout(r.Context(), reachTimeout)
	defer cancel()
	for _, address := range addresses {
		for {
			conn, err := (&net.Dialer{Timeout: time.Second}).DialContext(ctx, "tcp", address)
			if err == nil {
				conn.Close()
				break
			}
			select {
			case <-ctx.Done():
				return fmt.Errorf("not reached within %v: %w", reachTimeout, err)
			case <-time.After(20 * time.Millisecond):
			}
		}
	}
	return nil
}

// handle adds an endpoint that only callers with the token reach. An error that
// it returns before it wrote anything becomes the answer.
func (c *control) handle(pattern string, serve func(http.ResponseWriter, *http.Request) error) {
	c.mux.HandleFunc(pattern, func(w http.ResponseWriter, r *http.Request) {
		token, _ := strings.CutPrefix(r.Header.Get("Authorization"), "Bearer ")
		if subtle.ConstantTimeCompare([]byte(token), []byte(c.opts.Token)) != 1 {
			http.Error(w, "wrong token", http.StatusUnauthorized)
			return
		}
		if err := serve(w, r); err != nil {
			if r.Context().Err() != nil {
				return // nobody waits, or the agent is being stopped: no answer of ours is final
			}
			status := http.StatusBadRequest
			if errors.Is(err, errNotLoaded) {
				status = http.StatusConflict
			}
			c.opts.Log.Warn("refused", "call", pattern, "error", err)
			http.Error(w, err.Error(), status)
		}
	})
}

// serve runs the API until ctx ends and closes l. Calls under way lose their
// context with it.
func (c *control) serve(ctx context.Context, l net.Listener) error {
	server := &http.Server{
		Handler: http.HandlerFunc(func(w http.ResponseWriter, r *http.Request) {
			w.Header().Set("Server", serverName)
			if c.opts.Version != "" {
				w.Header().Set(versionName, c.opts.Version)
			}
			c.mux.ServeHTTP(w, r)
		}),
		ReadHeaderTimeout: 10 * time.Second,
		BaseContext:       func(net.Listener) context.Context { return ctx },
		ErrorLog:          slog.NewLogLogger(c.opts.Log.Handler(), slog.LevelDebug),
	}
	stop := context.AfterFunc(ctx, func() { server.Close() })
	defer stop()
	err := server.Serve(l)
	if ctx.Err() != nil || errors.Is(err, http.ErrServerClosed) {
		return nil
	}
	return fmt.Errorf("serve the control API: %w", err)
}

// passOf reads the number of the pass from the query.
func passOf(r *http.Request) (uint32, error) {
	n, err := strconv.ParseUint(r.URL.Query().Get("pass"), 10, 32)
	if err != nil {
		return 0, fmt.Errorf("pass: %w", err)
	}
	return uint32(n), nil
}

func laneOf(r *http.Request) traffic.Lane { return traffic.Lane(r.URL.Query().Get("lane")) }

func writeJSON(w http.ResponseWriter, v any) error {
	data, err := json.Marshal(v)
	if err != nil {
		return fmt.Errorf("write the answer: %w", err)
	}
	w.Header().Set("Content-Type", "application/json")
	_, _ = w.Write(data) // the caller that went away misses it
	return nil
}

// maxRequest bounds a JSON request.
const maxRequest = 16 << 20

func readJSON(r *http.Request, v any) error {
	if err := json.NewDecoder(io.LimitReader(r.Body, maxRequest)).Decode(v); err != nil {
		return fmt.Errorf("read the request: %w", err)
	}
	return nil
}
