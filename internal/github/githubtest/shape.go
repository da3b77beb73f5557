package githubtest

import (
	"fmt"
	"hash/fnv"
	"net/http"
	"net/url"
	"strings"
	"time"
)

// user is the account of a login with all keys that GitHub promises.
func (s *Server) user(login, kind string) map[string]any {
	h := fnv.New32a()
	_, _ = h.Write([]byte(login))
	id := int64(h.Sum32())
	api := "https://api.github.com/users/" + url.PathEscape(login)
	return map[string]any{
		"login": login, "id": id, "node_id": fmt.Sprintf("U_%d", id), "avatar_url": fmt.Sprintf("https://avatars.githubusercontent.com/u/%d", id),
		"gravatar_id": "", "url": api, "html_url": "https://github.com/" + url.PathEscape(login),
		"followers_url": api + "/followers", "following_url": api + "/following{/other_user}", "gists_url": api + "/gists{/gist_id}",
		"starred_url": api + "/starred{/owner}{/repo}", "subscriptions_url": api + "/subscriptions", "organizations_url": api + "/orgs",
		"repos_url": api + "/repos", "events_url": api + "/events{/privacy}", "received_events_url": api + "/received_events",
		"type": kind, "site_admin": false,
	}
}

// comment is an issue comment with all keys that GitHub promises.
func (s *Server) comment(r *http.Request, c *Comment) map[string]any {
	repo := s.opts.Owner + "/" + s.opts.Repo
	base := "http://" + r.Host + "/repos/" + repo
	return map[string]any{
		"id": c.ID, "node_id": fmt.Sprintf("IC_%d", c.ID),
		"url":       fmt.Sprintf("%s/issues/comments/%d", base, c.ID),
		"html_url":  fmt.Sprintf("https://github.com/%s/pull/%d#issuecomment-%d", repo, c.Issue, c.ID),
		"issue_url": fmt.Sprintf("%s/issues/%d", base, c.Issue),
		"body":      c.Body, "user": s.user(c.Login, c.Type),
		"created_at": c.Created.Format(time.RFC3339), "updated_at": c.Updated.Format(time.RFC3339),
		"author_association": "NONE", "performed_via_github_app": nil,
	}
}

// pull is a pull request with the keys that reprise reads.
func (s *Server) pull(p Pull) map[string]any {
	repo := func(full string) any {
		owner, name, ok := cutRepo(full)
		if !ok {
			return nil // a deleted fork
		}
		return map[string]any{"full_name": full, "name": name, "owner": s.user(owner, "User")}
	}
	base := p.BaseOwner
	if base == "" {
		base = s.opts.Owner
	}
	return map[string]any{
		"number": p.Number, "state": "open", "title": fmt.Sprintf("Pull request %d", p.Number),
		"head": map[string]any{"sha": p.HeadSHA, "ref": p.HeadRef, "repo": repo(p.HeadRepo)},
		"base": map[string]any{"sha": p.BaseSHA, "ref": p.BaseRef, "repo": repo(base + "/" + s.opts.Repo)},
	}
}

func cutRepo(full string) (owner, name string, ok bool) { return strings.Cut(full, "/") }
