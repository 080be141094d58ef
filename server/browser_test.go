package main

import (
	"context"
	"encoding/json"
	"os"
	"strings"
	"sync"
	"testing"
	"time"

	"github.com/chromedp/cdproto/emulation"
	cdppage "github.com/chromedp/cdproto/page"
	"github.com/chromedp/chromedp"
	"github.com/chromedp/chromedp/kb"
	"github.com/stretchr/testify/require"
)

// chromium is a headless Chromium for all tests, because starting one takes seconds.
var chromium struct {
	once sync.Once
	ctx  context.Context
	err  error
}

// startedChromium returns the context of chromium, which it starts if need be.
func startedChromium(t *testing.T) context.Context {
	t.Helper()
	needs(t, "chromium")
	chromium.once.Do(func() {
		options := append(chromedp.DefaultExecAllocatorOptions[:], chromedp.NoSandbox, chromedp.DisableGPU,
			chromedp.ExecPath("chromium"), chromedp.WSURLReadTimeout(time.Minute))
		allocator, _ := chromedp.NewExecAllocator(context.Background(), options...)
		chromium.ctx, _ = chromedp.NewContext(allocator)
		chromium.err = chromedp.Do(chromium.ctx)
	})
	require.NoError(t, chromium.err)
	return chromium.ctx
}

// stopChromium ends chromium after all tests.
func stopChromium() error {
	if chromium.ctx == nil {
		return nil
	}
	return chromedp.Cancel(chromium.ctx)
}

// browser is a page of chromium with its own cookies, as in a private window. It fails the test for everything that
// Chromium complains of: an error in a script, a violation of the content security policy, a refused request.
type browser struct {
	t   *testing.T
	ctx context.Context
	url string

	mu         sync.Mutex
	complaints []string
	allowed    []string // of complaints, parts of those that a test causes on purpose
}

func newBrowser(t *testing.T, url string) *browser {
	t.Helper()
	ctx, closePage := chromedp.NewContext(startedChromium(t), chromedp.WithNewBrowserContext())
	b := &browser{t: t, ctx: ctx, url: url}
	b.do(chromedp.Navigate("about:blank"))
	listening := make(chan struct{})
	go func() {
		defer close(listening)
		for message := range chromedp.Console(ctx) {
			b.hear(message)
		}
	}()
	t.Cleanup(func() {
		closePage()
		<-listening
		b.mu.Lock()
		defer b.mu.Unlock()
		require.Empty(t, b.complaints, "Chromium complains")
	})
	return b
}

func (b *browser) hear(message chromedp.ConsoleMessage) {
	if !message.IsException() && message.Type != "error" && message.Type != "warning" && message.Type != "assert" {
		return
	}
	complaint := message.String() + " " + message.URL
	b.mu.Lock()
	defer b.mu.Unlock()
	for _, part := range b.allowed {
		if strings.Contains(complaint, part) {
			return
		}
	}
	b.complaints = append(b.complaints, complaint)
}

// bringAxe makes loadAxe available on the pages that are opened from now on, which loads axe-core, the accessibility
// checker. It is sent to Chromium once, because it has half a megabyte.
func (b *browser) bringAxe() {
	b.t.Helper()
	needsTools(b.t)
	axe, err := os.ReadFile(clientsFolder + "/node_modules/axe-core/axe.min.js")
	require.NoError(b.t, err)
	_, err = chromedp.Call(b.ctx, cdppage.AddScriptToEvaluateOnNewDocument,
		cdppage.AddScriptToEvaluateOnNewDocumentParams{Source: "window.loadAxe = () => {" + string(axe) + "\n}"})
	require.NoError(b.t, err)
}

// allow accepts a complaint that the next steps cause on purpose.
func (b *browser) allow(part string) {
	b.mu.Lock()
	defer b.mu.Unlock()
	b.allowed = append(b.allowed, part)
}

// do runs actions, for a minute at most.
func (b *browser) do(actions ...chromedp.Action[chromedp.Void]) {
	b.t.Helper()
	ctx := b.ctx
	if b.started() { // a page lives as long as the context of its first run
		var cancel context.CancelFunc
		ctx, cancel = context.WithTimeout(b.ctx, time.Minute)
		defer cancel()
	}
	require.NoError(b.t, chromedp.Do(ctx, actions...))
}

func (b *browser) started() bool { return chromedp.FromContext(b.ctx).Target != nil }

func (b *browser) open(page string) {
	b.t.Helper()
	b.do(chromedp.Navigate(b.url+page), chromedp.WaitReady("main"))
}

// press clicks the button with a text, and waits for the next page.
func (b *browser) press(label string) {
	b.t.Helper()
	b.do(chromedp.Click(`//button[normalize-space()="`+label+`"]`), chromedp.Sleep(50*time.Millisecond),
		chromedp.WaitReady("main"))
}

// confirm types the name that a question asks for.
func (b *browser) confirm() {
	b.t.Helper()
	b.do(chromedp.WaitReady("dialog[open] input"))
	name := eval[string](b, `/“(.*)”/.exec(document.querySelector("dialog label").innerText)[1]`)
	b.do(chromedp.KeyEvent(name), chromedp.KeyEvent(kb.Enter))
}

// fill writes into the field with a label.
func (b *browser) fill(label, text string) {
	b.t.Helper()
	require.Equal(b.t, "", eval[string](b, `(() => {
		const label = [...document.querySelectorAll("label[for]")].find((l) => l.innerText.trim() === `+quotedJS(label)+`);
		if (!label) return "no field has this label: " + [...document.querySelectorAll("label")].map((l) => l.innerText);
		const field = document.getElementById(label.htmlFor);
		field.focus();
		field.value = `+quotedJS(text)+`;
		field.dispatchEvent(new Event("input", {bubbles: true}));
		field.dispatchEvent(new Event("change", {bubbles: true}));
		return "";
	})()`), label)
}

func quotedJS(text string) string {
	quoted, err := json.Marshal(text)
	if err != nil {
		panic(err) // a text always has JSON
	}
	return string(quoted)
}

// text returns the visible text of the page. If the page is left meanwhile, the next one is read.
func (b *browser) text() string {
	b.t.Helper()
	text, err := evaluated[string](b, `document.body?.innerText ?? ""`)
	for n := 0; n < 20 && err != nil && strings.Contains(err.Error(), "navigated or closed"); n++ {
		time.Sleep(50 * time.Millisecond)
		text, err = evaluated[string](b, `document.body?.innerText ?? ""`)
	}
	require.NoError(b.t, err)
	return text
}

// sees waits until the page shows a text.
func (b *browser) sees(text string) {
	b.t.Helper()
	for range 100 {
		if strings.Contains(b.text(), text) {
			return
		}
		time.Sleep(50 * time.Millisecond)
	}
	require.Failf(b.t, "the page does not show it", "%q; it shows %q", text, b.text())
}

// eval runs a JavaScript expression. The page's policy does not apply to it.
func eval[T any](b *browser, expression string) T {
	b.t.Helper()
	result, err := evaluated[T](b, expression)
	require.NoError(b.t, err)
	return result
}

func evaluated[T any](b *browser, expression string) (T, error) {
	ctx, cancel := context.WithTimeout(b.ctx, time.Minute)
	defer cancel()
	return chromedp.Run(ctx, chromedp.Evaluate[T](expression, chromedp.EvalAwaitPromise))
}

// look sets the page's width and theme.
func (b *browser) look(width int64, theme string) {
	b.t.Helper()
	b.do(chromedp.EmulateViewport(width, 900))
	_, err := chromedp.Call(b.ctx, emulation.SetEmulatedMedia, emulation.SetEmulatedMediaParams{
		Features: []*emulation.MediaFeature{{Name: "prefers-color-scheme", Value: theme}},
	})
	require.NoError(b.t, err)
}

// picture writes a screenshot of the whole page into a file.
func (b *browser) picture(file string) {
	b.t.Helper()
	image, err := chromedp.Run(b.ctx, chromedp.FullScreenshot(100))
	require.NoError(b.t, err)
	require.NoError(b.t, os.WriteFile(file, image, 0o644))
}
