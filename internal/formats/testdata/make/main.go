// Command make is the service and the caller behind the recordings in this
// folder: "go run ./make serve ADDR" answers, "go run ./make call BASE [PROXY]"
// sends the same few requests, BASE being the service or what stands in front of
// it, and PROXY a forward proxy on the way.
package main

import (
	"compress/gzip"
	"fmt"
	"io"
	"net/http"
	"net/http/httputil"
	"net/url"
	"os"
	"strings"
)

func main() {
	switch os.Args[1] {
	case "serve":
		panic(http.ListenAndServe(os.Args[2], http.HandlerFunc(serve)))
	case "call":
		call(os.Args[2], strings.Join(os.Args[3:], ""))
	}
}

func serve(w http.ResponseWriter, r *http.Request) {
	switch {
	case r.URL.Path == "/gzip":
		w.Header().Set("Content-Encoding", "gzip")
		w.Header().Set("Content-Type", "application/json")
		zw := gzip.NewWriter(w)
		fmt.Fprintf(zw, `{"items":[%s"end"]}`, strings.Repeat(`"item",`, 100))
		zw.Close()
	case r.URL.Path == "/chunked":
		for i := range 3 {
			fmt.Fprintf(w, "chunk %d\n", i)
			_ = http.NewResponseController(w).Flush()
		}
	case r.URL.Path == "/large":
		fmt.Fprint(w, strings.Repeat("0123456789abcdef", 4<<10)) // many segments
	case r.Method == http.MethodPost:
		body, _ := io.ReadAll(r.Body)
		w.Header().Set("Content-Type", "application/json")
		w.Header()["Set-Cookie"] = []string{"a=1", "b=2"}
		w.WriteHeader(http.StatusCreated)
		fmt.Fprintf(w, `{"got":%q}`, body)
	default:
		http.NotFound(w, r)
	}
}

func call(base, proxy string) {
	transport := &http.Transport{DisableCompression: true}
	if proxy != "" {
		at, err := url.Parse(proxy)
		if err != nil {
			panic(err)
		}
		transport.Proxy = http.ProxyURL(at)
	}
	client := &http.Client{Transport: transport}
	do := func(method, path string, body io.Reader, header ...string) {
		r, err := http.NewRequest(method, base+path, body)
		if err != nil {
			panic(err)
		}
		for i := 0; i+1 < len(header); i += 2 {
			r.Header.Add(header[i], header[i+1])
		}
		response, err := client.Do(r)
		if err != nil {
			panic(err)
		}
		dump, _ := httputil.DumpResponse(response, false)
		n, _ := io.Copy(io.Discard, response.Body)
		response.Body.Close()
		fmt.Printf("%s %s: %d bytes\n%s", method, path, n, dump)
	}
	do("GET", "/missing?x=1&y=%20", nil)
	do("POST", "/orders", strings.NewReader(`{"sku":7}`), "Content-Type", "application/json", "X-Twice", "1", "X-Twice", "2")
	do("POST", "/stream", io.MultiReader(strings.NewReader("first "), strings.NewReader("second"))) // chunked
	do("GET", "/gzip", nil, "Accept-Encoding", "gzip")
	do("GET", "/chunked", nil)
	do("HEAD", "/large", nil)
	do("GET", "/large", nil)
	do("POST", "/binary", strings.NewReader("\x00\x01\xfe\xff\n🐵🙈🙉\nnot the end"), "Content-Type", "application/octet-stream")
}
