// Go's own HTTP client against a function at rest: the first request wakes it, and whatever follows uses connections again.
// Usage: client http1|http2 http://HOST:PORT [BYTES]. It prints how many requests were answered as expected. With BYTES
// it sends and gets back one body of that length instead.
package main

import (
	"bufio"
	"bytes"
	"fmt"
	"io"
	"log"
	"net/http"
	"net/http/httptrace"
	"os"
	"strconv"
	"strings"
	"sync"
	"sync/atomic"
	"time"
)

const (
	warmRequests = 200
	parallel     = 20
	bodyBytes    = 8 << 20
	chunks       = 3
)

type caller struct {
	client   *http.Client
	base     string
	major    int
	answered atomic.Int64
	// Connections that were made, not taken from the pool.
	connections atomic.Int64
}

func main() {
	log.SetFlags(0)
	transport := &http.Transport{MaxIdleConnsPerHost: parallel, Protocols: new(http.Protocols)}
	calls := &caller{base: os.Args[2], major: 1}
	if os.Args[1] == "http2" {
		calls.major = 2
		transport.Protocols.SetUnencryptedHTTP2(true)
	} else {
		transport.Protocols.SetHTTP1(true)
	}
	calls.client = &http.Client{Transport: transport, Timeout: time.Minute}
	if len(os.Args) > 3 {
		length, err := strconv.ParseInt(os.Args[3], 10, 64)
		if err != nil {
			log.Fatal(err)
		}
		calls.large(length)
	} else {
		calls.all()
	}
	fmt.Println("answered", calls.answered.Load())
}

func (calls *caller) all() {
	calls.cold()
	for range warmRequests {
		calls.greeting()
	}
	if made := calls.connections.Load(); made != 1 {
		log.Fatalf("one after the other needed %d connections", made)
	}
	calls.echo(bytes.NewReader(pattern()))
	// Without a length: chunks, or frames.
	calls.echo(io.MultiReader(bytes.NewReader(pattern())))
	calls.stream()
	calls.head()
	var all sync.WaitGroup
	for range parallel {
		all.Go(func() {
			for range warmRequests / parallel {
				calls.greeting()
			}
		})
	}
	all.Wait()
}

// An endless body whose bytes say where they are in it.
type endless struct{ read int64 }

func (body *endless) Read(into []byte) (int, error) {
	for index := range into {
		into[index] = byte((body.read + int64(index)) % 251)
	}
	body.read += int64(len(into))
	return len(into), nil
}

func (calls *caller) large(length int64) {
	response := calls.do("POST", "/echo", io.LimitReader(&endless{}, length))
	defer response.Body.Close()
	expected := io.LimitReader(&endless{}, length)
	got, want := make([]byte, 1<<16), make([]byte, 1<<16)
	for {
		count, err := io.ReadFull(response.Body, got)
		if _, short := io.ReadFull(expected, want[:count]); short != nil || !bytes.Equal(got[:count], want[:count]) {
			log.Fatal("another body came back")
		}
		if err == io.EOF || err == io.ErrUnexpectedEOF {
			break
		}
		if err != nil {
			log.Fatalf("reading the body: %v", err)
		}
	}
	if left, _ := io.Copy(io.Discard, expected); left != 0 {
		log.Fatalf("%d bytes are missing", left)
	}
}

func (calls *caller) do(method, path string, body io.Reader) *http.Response {
	request, err := http.NewRequest(method, calls.base+path, body)
	if err != nil {
		log.Fatal(err)
	}
	trace := &httptrace.ClientTrace{GotConn: func(got httptrace.GotConnInfo) {
		if !got.Reused {
			calls.connections.Add(1)
		}
	}}
	response, err := calls.client.Do(request.WithContext(httptrace.WithClientTrace(request.Context(), trace)))
	if err != nil {
		log.Fatalf("%s %s: %v", method, path, err)
	}
	if response.StatusCode != http.StatusOK || response.ProtoMajor != calls.major {
		log.Fatalf("%s %s: %s over %s", method, path, response.Status, response.Proto)
	}
	calls.answered.Add(1)
	return response
}

func (calls *caller) read(response *http.Response) []byte {
	body, err := io.ReadAll(response.Body)
	response.Body.Close()
	if err != nil {
		log.Fatalf("reading the body: %v", err)
	}
	return body
}

func (calls *caller) cold() {
	response := calls.do("GET", "/", nil)
	calls.read(response)
	if timing := response.Header.Get("Server-Timing"); !strings.HasPrefix(timing, "catnap;desc=cold") {
		log.Fatalf("the first request was not cold: %q", timing)
	}
}

func (calls *caller) greeting() {
	if body := calls.read(calls.do("GET", "/", nil)); !bytes.HasPrefix(body, []byte("Hello from ")) {
		log.Fatalf("another body: %q", body)
	}
}

func (calls *caller) echo(body io.Reader) {
	if back := calls.read(calls.do("POST", "/echo", body)); !bytes.Equal(back, pattern()) {
		log.Fatalf("%d bytes came back, or others", len(back))
	}
}

func (calls *caller) stream() {
	response := calls.do("GET", fmt.Sprintf("/stream?chunks=%d&interval_ms=1000", chunks), nil)
	lines := bufio.NewScanner(response.Body)
	var came []time.Time
	for lines.Scan() {
		if lines.Text() != fmt.Sprintf("chunk %d", len(came)) {
			log.Fatalf("chunk %d is %q", len(came), lines.Text())
		}
		came = append(came, time.Now())
	}
	if lines.Err() != nil || len(came) != chunks {
		log.Fatalf("the stream ended after %d chunks with %v", len(came), lines.Err())
	}
	// They were sent two seconds apart: half of that is for a first one that was late.
	if came[chunks-1].Sub(came[0]) < time.Second {
		log.Fatal("the first chunk waited for others")
	}
	response.Body.Close()
}

func (calls *caller) head() {
	response := calls.do("GET", "/", nil)
	length := response.ContentLength
	calls.read(response)
	if length <= 0 {
		log.Fatalf("a plain answer says its length, not %d", length)
	}
}

func pattern() []byte {
	bytes := make([]byte, bodyBytes)
	for index := range bytes {
		bytes[index] = byte(index % 251)
	}
	return bytes
}
