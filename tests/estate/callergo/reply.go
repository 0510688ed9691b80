package main

import (
	"fmt"

	"dubbo.apache.org/dubbo-go/v3/protocol/result"
	"dubbo.apache.org/dubbo-go/v3/remoting"
)

// reply is the text in what a callback was given.
func reply(given any) (string, error) {
	response, ok := given.(*remoting.Response)
	if !ok {
		return "", fmt.Errorf("not a response: %T", given)
	}
	if response.Error != nil {
		return "", response.Error
	}
	answered, ok := response.Result.(*result.RPCResult)
	if !ok {
		return "", fmt.Errorf("not a result: %T", response.Result)
	}
	switch text := answered.Rest.(type) {
	case *string:
		return *text, answered.Err
	case string:
		return text, answered.Err
	default:
		return fmt.Sprint(text), answered.Err
	}
}
