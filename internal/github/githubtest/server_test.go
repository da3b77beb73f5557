package githubtest_test

import (
	"net/http"
	"net/http/httptest"
	"strings"
	"testing"

	"github.com/reprise-ci/reprise/internal/github/githubtest"
)

// The stand-in is only worth something when it refuses what GitHub refuses.
func TestStrict(t *testing.T) {
	s := githubtest.New(githubtest.Options{Owner: "acme", Repo: "shop", Token: "t"})
	s.Seed(7, "github-actions[bot]", "Bot", "ours")
	s.Seed(7, "mona", "User", "hers")
	web := httptest.NewServer(s)
	defer web.Close()
	for _, c := range []struct {
		reason, method, path, body string
		status                     int
		mistake                    bool
	}{
		{"list", "GET", "/repos/acme/shop/issues/7/comments?per_page=1", "", 200, false},
		{"another repository", "GET", "/repos/acme/other/issues/7/comments", "", 404, true},
		{"a prefix that is not ours", "GET", "/api/v3/repos/acme/shop/issues/7/comments", "", 404, true},
		{"page zero", "GET", "/repos/acme/shop/issues/7/comments?page=0", "", 422, true},
		{"create", "POST", "/repos/acme/shop/issues/7/comments", `{"body":"x"}`, 201, false},
		{"no body", "POST", "/repos/acme/shop/issues/7/comments", `{}`, 422, true},
		{"an unknown key", "POST", "/repos/acme/shop/issues/7/comments", `{"body":"x","bdy":1}`, 422, true},
		{"no JSON", "POST", "/repos/acme/shop/issues/7/comments", `body=x`, 400, true},
		{"too long", "POST", "/repos/acme/shop/issues/7/comments", `{"body":"` + strings.Repeat("ü", 65_537) + `"}`, 422, false},
		{"as long as it may be", "POST", "/repos/acme/shop/issues/7/comments", `{"body":"` + strings.Repeat("ü", 65_536) + `"}`, 201, false},
		{"edit ours", "PATCH", "/repos/acme/shop/issues/comments/1001", `{"body":"x"}`, 200, false},
		{"edit hers", "PATCH", "/repos/acme/shop/issues/comments/1002", `{"body":"x"}`, 403, false},
		{"edit none", "PATCH", "/repos/acme/shop/issues/comments/99", `{"body":"x"}`, 404, false},
		{"another method", "PUT", "/repos/acme/shop/issues/comments/1001", `{"body":"x"}`, 404, true},
		{"an unknown reaction", "POST", "/repos/acme/shop/issues/comments/1001/reactions", `{"content":"thumbs"}`, 422, true},
		{"delete ours", "DELETE", "/repos/acme/shop/issues/comments/1001", "", 204, false},
		{"who am I, asked by the workflow's token", "GET", "/user", "", 403, false},
	} {
		before := len(s.Mistakes())
		req, err := http.NewRequestWithContext(t.Context(), c.method, web.URL+c.path, strings.NewReader(c.body))
		if err != nil {
			t.Fatal(err)
		}
		req.Header.Set("Authorization", "Bearer t")
		req.Header.Set("Accept", "application/vnd.github+json")
		req.Header.Set("Content-Type", "application/json")
		resp, err := http.DefaultClient.Do(req)
		if err != nil {
			t.Fatal(err)
		}
		resp.Body.Close()
		if resp.StatusCode != c.status || (len(s.Mistakes()) > before) != c.mistake {
			t.Errorf("%s: status %d, want %d; mistakes %q", c.reason, resp.StatusCode, c.status, s.Mistakes()[before:])
		}
	}
}
