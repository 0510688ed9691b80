// Command callergo is a consumer of GreetingService as Go teams write it with dubbo-go: the library as it is released, called
// through the URL in the environment.
//
//	URL         dubbo://127.0.0.1:20880 (Dubbo2, Hessian2) or tri://127.0.0.1:8080 (Triple, Hessian2)
//	PORT_HTTP   where it answers
//	TIMEOUT_MS  of a call (1000)
//
// GET /hello?world answers what sayHello("world") did, or 502 with the exception; /later asks with a callback, /oneway without
// an answer, /large?N with N characters, /many?N from N goroutines twenty times each, /greet for an object, /generic by $invoke.
package main

import (
	"context"
	"errors"
	"fmt"
	"log"
	"net/http"
	"net/url"
	"os"
	"strconv"
	"strings"
	"sync"
	"sync/atomic"
	"time"

	"dubbo.apache.org/dubbo-go/v3/client"
	_ "dubbo.apache.org/dubbo-go/v3/cluster/cluster/failfast"
	_ "dubbo.apache.org/dubbo-go/v3/cluster/loadbalance/random"
	"dubbo.apache.org/dubbo-go/v3/common"
	"dubbo.apache.org/dubbo-go/v3/common/constant"
	"dubbo.apache.org/dubbo-go/v3/config/generic"
	_ "dubbo.apache.org/dubbo-go/v3/filter/generic"
	_ "dubbo.apache.org/dubbo-go/v3/filter/graceful_shutdown"
	_ "dubbo.apache.org/dubbo-go/v3/protocol/dubbo"
	_ "dubbo.apache.org/dubbo-go/v3/protocol/triple"
	_ "dubbo.apache.org/dubbo-go/v3/proxy/proxy_factory"
	"dubbo.apache.org/dubbo-go/v3/remoting"
	"dubbo.apache.org/dubbo-go/v3/remoting/getty"
	hessian "github.com/apache/dubbo-go-hessian2"
	"github.com/apache/dubbo-go-hessian2/java_exception"
)

const greetingService = "dev.landfall.estate.GreetingService"

// GreetingRequest is the provider's class of that name.
type GreetingRequest struct {
	Name  string
	Times int32
}

// JavaClassName is how the provider knows it.
func (GreetingRequest) JavaClassName() string { return "dev.landfall.estate.GreetingRequest" }

// Greeting is the provider's class of that name.
type Greeting struct {
	Text     string
	Instance string
}

// JavaClassName is how the provider knows it.
func (Greeting) JavaClassName() string { return "dev.landfall.estate.Greeting" }

// sayer is a service that dubbo-go fills in; without a callback its calls are one-way when they are asynchronous.
type sayer struct {
	SayHello func(ctx context.Context, name string) (string, error) `dubbo:"sayHello"`
}

func (*sayer) Reference() string { return greetingService }

// listener is a service whose asynchronous calls are answered to its callback.
type listener struct {
	SayHello func(ctx context.Context, name string) (string, error) `dubbo:"sayHello"`
	answers  chan common.CallbackResponse
}

func (*listener) Reference() string { return greetingService }

// CallBack is what dubbo-go calls with an answer.
func (l *listener) CallBack(response common.CallbackResponse) { l.answers <- response }

type caller struct {
	dubbo   bool
	patient client.CallOption // without it a call of a connection by Dubbo2 has no time at all
	conn    *client.Connection
	oneWay  *sayer
	later   *listener
	generic *generic.GenericService
	turn    sync.Mutex
}

func main() {
	hessian.RegisterPOJO(&GreetingRequest{})
	hessian.RegisterPOJO(&Greeting{})
	limits := getty.GetDefaultClientConfig()
	// The consumer's own limit is 1 MB unless it is told otherwise; and by default it opens up to 16 connections.
	limits.GettySessionParam.MaxMsgLen = 64 << 20
	limits.ConnectionNum = 1
	getty.SetClientConf(*limits)

	called, err := connect(os.Getenv("URL"))
	if err != nil {
		log.Fatal(err)
	}
	serve := http.NewServeMux()
	serve.HandleFunc("/ready", func(w http.ResponseWriter, _ *http.Request) { fmt.Fprint(w, "yes") })
	for path, does := range map[string]func(string) (string, error){
		"/hello": called.hello, "/later": called.askLater, "/oneway": called.tell, "/large": called.large,
		"/many": called.many, "/greet": called.greet, "/generic": called.invoke,
	} {
		serve.HandleFunc(path, func(w http.ResponseWriter, r *http.Request) {
			asked, _ := url.QueryUnescape(r.URL.RawQuery)
			text, err := does(asked)
			if err != nil {
				w.WriteHeader(http.StatusBadGateway)
				text = words(err)
			}
			fmt.Fprint(w, text)
		})
	}
	log.Fatal(http.ListenAndServe("127.0.0.1:"+os.Getenv("PORT_HTTP"), serve))
}

// connect makes the references. Dubbo-go tries nothing again: what is tried again, the gateway does.
func connect(address string) (*caller, error) {
	cli, err := client.NewClient()
	if err != nil {
		return nil, err
	}
	millis, err := strconv.Atoi(setting("TIMEOUT_MS", "1000"))
	if err != nil {
		return nil, err
	}
	timeout := time.Duration(millis) * time.Millisecond
	patient := client.WithCallRequestTimeout(timeout)
	options := func(more ...client.ReferenceOption) []client.ReferenceOption {
		return append([]client.ReferenceOption{
			client.WithURL(address), client.WithInterface(greetingService), client.WithClusterFailFast(),
			client.WithRetries(0), client.WithSerialization(constant.Hessian2Serialization),
			client.WithRequestTimeout(timeout),
			client.WithParam(constant.MaxCallRecvMsgSize, "64MiB"), client.WithParam(constant.MaxCallSendMsgSize, "64MiB"),
		}, more...)
	}
	info := &client.ClientInfo{InterfaceName: greetingService, MethodNames: []string{"sayHello", "greet"}}
	if strings.HasPrefix(address, "tri:") {
		conn, err := cli.DialWithInfo(greetingService, info, options(client.WithProtocolTriple())...)
		return &caller{conn: conn, patient: patient}, err
	}
	called := &caller{
		dubbo: true, patient: patient, oneWay: &sayer{}, generic: generic.NewGenericService(greetingService),
		later: &listener{answers: make(chan common.CallbackResponse, 1)},
	}
	dubbo := client.WithProtocolDubbo()
	if called.conn, err = cli.DialWithInfo(greetingService, info, options(dubbo)...); err != nil {
		return nil, err
	}
	if _, err = cli.DialWithService(greetingService, called.generic, options(dubbo, client.WithGeneric())...); err != nil {
		return nil, err
	}
	// What one reference of a client says of asynchrony holds for those after it.
	later, err := client.NewClient()
	if err != nil {
		return nil, err
	}
	if _, err = later.DialWithService(greetingService, called.oneWay, options(dubbo, client.WithAsync())...); err != nil {
		return nil, err
	}
	_, err = later.DialWithService(greetingService, called.later, options(dubbo, client.WithAsync())...)
	return called, err
}

func (c *caller) hello(name string) (string, error) {
	var text string
	err := c.conn.CallUnary(context.Background(), []any{name}, &text, "sayHello", c.patient)
	return text, err
}

func (c *caller) greet(name string) (string, error) {
	var greeting Greeting
	err := c.conn.CallUnary(context.Background(), []any{&GreetingRequest{Name: name, Times: 2}}, &greeting, "greet", c.patient)
	return fmt.Sprintf("%s (%s)", greeting.Text, greeting.Instance), err
}

func (c *caller) tell(name string) (string, error) {
	if !c.dubbo {
		return "", errors.New("dubbo-go has no one-way calls by Triple")
	}
	_, err := c.oneWay.SayHello(context.Background(), name)
	return "sent", err
}

func (c *caller) askLater(name string) (string, error) {
	if !c.dubbo {
		return "", errors.New("dubbo-go has no callbacks by Triple")
	}
	c.turn.Lock()
	defer c.turn.Unlock()
	if _, err := c.later.SayHello(context.Background(), name); err != nil {
		return "", err
	}
	select {
	case answer := <-c.later.answers:
		response, ok := answer.(remoting.AsyncCallbackResponse)
		if !ok {
			return "", fmt.Errorf("not an answer: %T", answer)
		}
		if response.Cause != nil {
			return "", response.Cause
		}
		return reply(response.Reply)
	case <-time.After(10 * time.Second):
		return "", errors.New("no answer to the callback")
	}
}

func (c *caller) invoke(name string) (string, error) {
	if !c.dubbo {
		return "", errors.New("this program makes generic calls by Dubbo2 only")
	}
	answer, err := c.generic.Invoke(context.Background(), "sayHello", []string{"java.lang.String"}, []hessian.Object{name})
	return fmt.Sprint(answer), err
}

func (c *caller) large(size string) (string, error) {
	count, err := strconv.Atoi(size)
	if err != nil {
		return "", err
	}
	name := strings.Repeat("x", count)
	text, err := c.hello(name)
	if err == nil && !strings.HasPrefix(text, "Hello "+name+", from ") {
		return fmt.Sprintf("not what was sent: %d", len(text)), nil
	}
	return "whole", err
}

// many calls from that many goroutines at once; what each got must be its own.
func (c *caller) many(size string) (string, error) {
	count, err := strconv.Atoi(size)
	if err != nil {
		return "", err
	}
	var good atomic.Int32
	var failed atomic.Value
	var all sync.WaitGroup
	for number := range count {
		all.Add(1)
		go func() {
			defer all.Done()
			for turn := range 20 {
				name := fmt.Sprintf("caller-%d-%d", number, turn)
				text, err := c.hello(name)
				if err != nil {
					failed.Store(words(err))
					return
				}
				if !strings.HasPrefix(text, "Hello "+name+", from ") {
					return
				}
			}
			good.Add(1)
		}()
	}
	all.Wait()
	if why, ok := failed.Load().(string); ok {
		return "", errors.New(why)
	}
	return fmt.Sprintf("%d of %d", good.Load(), count), nil
}

// words are the error as Java would print it.
func words(err error) string {
	var thrown java_exception.Throwabler
	if errors.As(err, &thrown) {
		return thrown.JavaClassName() + ": " + thrown.Error()
	}
	return err.Error()
}

// setting is that variable, or the other text.
func setting(name, otherwise string) string {
	if value, ok := os.LookupEnv(name); ok {
		return value
	}
	return otherwise
}
