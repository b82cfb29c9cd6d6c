// Executes a body plan over its source, block by block: what is to be sent next. Follows a log that still
// grows. Used for uploads (the client's body) and for translated answers (the upstream's). On the core's
// thread; one caller.
#pragma once

#include "message/body.hpp"
#include "message/failure.hpp"
#include "net/event.hpp"
#include "net/interrupt.hpp"
#include "net/loop.hpp"
#include "net/task.hpp"
#include "payload/replay.hpp"
#include "payload/transcode.hpp"

#include <cstdint>
#include <optional>
#include <string>
#include <string_view>

namespace gw::upstream {

// Where a plan's ranges lie: whole in memory, or in a log that may still grow.
struct source
{
    std::string_view memory;
    payloads::replay* log = nullptr; // wins when set
};

class plan_reader
{
public:
    // Bytes to be sent in this order; both empty: the plan is done. Valid until the next call.
    struct block
    {
        std::string_view first;  // literals and re-encoded bytes
        std::string_view second; // bytes of the source, untouched
        [[nodiscard]] std::size_t size() const { return first.size() + second.size(); }
    };

    plan_reader(net::loop& on, body_plan plan, source from, net::interrupt& stop, std::string before = {});

    //   errors   the log's failure (the client's body broke off), invalid_base64, the interrupt's reason;
    //            internal with an empty text after abandon()
    [[nodiscard]] net::task<result<block>> next();

    // Ends a next() that waits for the log.
    void abandon();

    [[nodiscard]] const body_plan& plan() const { return plan_; }

private:
    static constexpr std::size_t full = 64 * 1024;

    [[nodiscard]] std::optional<std::string_view> take(const piece& one);

    body_plan plan_;
    source from_;
    net::interrupt& stop_;
    net::event progress_;
    std::string pending_;
    std::string shown_;
    std::size_t at_ = 0; // piece
    std::uint64_t left_ = 0;
    std::uint64_t position_ = 0; // memory
    bool begun_ = false;         // the piece at_
    bool abandoned_ = false;
    std::optional<payloads::replay::reader> reader_;
    std::optional<payloads::transcoder> work_;
};

} // namespace gw::upstream
