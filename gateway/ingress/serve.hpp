// One request from its head to its access record. serve() is the whole way on one screen; each stage is a
// call.
#pragma once

#include "auth/authenticate.hpp"
#include "dispatch/core.hpp"
#include "net/interrupt.hpp"
#include "net/reader.hpp"
#include "net/stream.hpp"
#include "net/task.hpp"
#include "wire/request_head.hpp"

#include <cstddef>
#include <memory>
#include <string>

namespace gw::ingress {

// A client's connection as a request sees it.
struct client_side
{
    dispatch::core& here;
    net::stream& wire;
    net::reader& in;         // its buffer begins with the request's head
    wire::request_head head; // scanned; views into `in` or `copy`
    std::string copy;        // of the head, when more of the body has to be read than the buffer holds
    net::interrupt* running = nullptr;    // of the request being served
    std::string address{};                // where it comes from; empty: not asked yet
    auth::last_caller caller{};           // its key, as it was presented last
    dispatch::connections::place place{}; // among the connections of its client
};

enum class after : std::uint8_t {
    keep,       // the next request may follow
    close,      // the client is gone
    linger,     // FIN, discard what may still come for a while, close: closing over unread bytes resets the
                // connection, which may destroy the answer on its way
    linger_cut, // the same behind an answer that is not whole, as its framing shows: with TLS no close_notify
    cut,        // nothing but a reset shows it
};

// REQUIRES head_size bytes of the buffer are the head that `from.head` was scanned from.
[[nodiscard]] net::task<after> serve(client_side& from, std::size_t head_size);

// Answers a head that could not be scanned (or did not come in time), in the native shape, and records it.
[[nodiscard]] net::task<void> refuse_head(client_side& from, const failure& why);

} // namespace gw::ingress
