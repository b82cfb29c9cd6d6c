#include "upstream/exchange.hpp"

#include <boost/asio/error.hpp>

#include <algorithm>
#include <array>

namespace gw::upstream {
namespace {

// After a failed write the answer may still be there: servers refuse a body and close.
constexpr auto late_answer = std::chrono::seconds(2);
constexpr std::chrono::milliseconds after_stream{100};
constexpr std::chrono::milliseconds margin{1000}; // of the time that the other side keeps a connection
constexpr std::size_t most_gathered = 15;         // pieces of a body that go out in one write with the head

net::time_point after(std::chrono::milliseconds limit)
{
    return net::clock::now() + limit;
}

} // namespace

exchange::exchange(lease over, net::interrupt& stop, exchange_limits limits)
    : over_(std::move(over)), stop_(stop), limits_(limits), head_(over_->head), upload_done_(over_->wire.on())
{
}

exchange::~exchange() = default;

std::unexpected<failure> exchange::broken(const net::error_code& ec, std::string_view while_doing) const
{
    if (stop_.fired()) {
        return std::unexpected(failure{.what = stop_.why()});
    }
    const std::string doing(while_doing);
    if (ec == net::asio::error::timed_out) {
        return std::unexpected(failure{
            .what = code::timeout,
            .from = origin::upstream,
            .text = "the upstream was silent for too long while " + doing,
            .detail = ec.message()
        });
    }
    const bool closed = ec == net::asio::error::eof;
    return std::unexpected(failure{
        .what = code::unavailable,
        .from = origin::upstream,
        .again =
            over_.reused() && bytes_received_ == 0 && over_->in.empty() ? retry::if_reused : retry::never,
        .text =
            std::string("the upstream ") + (closed ? "closed" : "broke") + " the connection while " + doing,
        .detail = ec.message()
    });
}

net::task<result<void>> exchange::send(std::string head, body_plan plan, source from)
{
    over_->exchanges += 1;

    if ((from.log != nullptr && plan.length() != 0) || plan.pieces.size() > most_gathered) {
        // The body may still arrive, lie in a file, or be cut up: follow it, and watch for an early answer
        // meanwhile.
        uploading_ = true;
        upload_whole_ = false;
        upload_.emplace(over_->wire.on(), std::move(plan), from, stop_, std::move(head));
        net::spawn(upload(), [this](const std::exception_ptr& bug) {
            if (bug) { // no memory: close() still waits for us
                upload_failed_ =
                    failure{.what = code::internal, .detail = "the upload ended by an exception"};
                upload_.reset();
                uploading_ = false;
                over_->wire.cancel();
                upload_done_.set();
            }
        });
        co_return result<void>{};
    }

    // In memory: everything in one gathered write. Re-encoded pieces are made first.
    std::array<net::asio::const_buffer, 1 + most_gathered> out;
    std::size_t count = 0;
    std::vector<std::string> made;
    out[count++] = net::asio::buffer(head);
    for (const piece& each : plan.pieces) {
        const std::string_view range = each.what == piece::how::literal
                                           ? std::string_view{}
                                           : from.memory.substr(each.from.begin, each.from.size());
        switch (each.what) {
        case piece::how::literal:
            out[count++] = net::asio::buffer(each.text);
            break;
        case piece::how::copy:
            out[count++] = net::asio::buffer(range.data(), range.size());
            break;
        case piece::how::encode:
        case piece::how::decode: {
            made.reserve(plan.pieces.size()); // no text may move: `out` points into it
            std::string& text = made.emplace_back();
            text.reserve(each.length);
            payloads::transcoder work(each);
            auto fed = work.feed(range, text);
            if (fed) {
                fed = work.finish(text);
            }
            if (!fed) {
                co_return fail(fed);
            }
            out[count++] = net::asio::buffer(text);
        }
        }
    }
    net::error_code ec;
    const std::span<const net::asio::const_buffer> whole(out.data(), count);
    std::size_t total = 0;
    for (const auto& each : whole) {
        total += each.size();
    }
    const std::size_t sent = over_->wire.try_write(whole, ec);
    wrote_any_ = sent > 0 || over_->wire.is_tls();
    if (!ec && sent != total) {
        // The kernel took a part: wait for the rest. What was taken is skipped.
        std::array<net::asio::const_buffer, 1 + most_gathered> rest;
        std::size_t skip = sent;
        std::size_t kept = 0;
        for (const auto& each : whole) {
            const std::size_t step = std::min(skip, each.size());
            skip -= step;
            if (each.size() > step) {
                rest[kept++] = each + step;
            }
        }
        const net::interrupt::scope ends(stop_, [this] { over_->wire.cancel(); });
        if (stop_.fired()) {
            co_return broken({}, "the request was sent");
        }
        ec = co_await over_->wire.write({rest.data(), kept}, limits_.idle);
    }
    if (stop_.fired()) {
        co_return broken(ec, "the request was sent");
    }
    bytes_sent_ += total;
    if (ec) {
        // It may have refused and closed: look for an answer for a moment.
        upload_failed_ = broken(ec, "the request was sent").error();
        over_->wire.read_until(after(late_answer));
        co_return result<void>{};
    }
    wrote_any_ = true;
    if (limits_.first_byte) {
        over_->wire.read_until(after(*limits_.first_byte));
    }
    co_return result<void>{};
}

net::task<result<void>> exchange::put(std::string_view first, std::string_view second)
{
    const std::array<net::asio::const_buffer, 2> out{
        net::asio::buffer(first.data(), first.size()), net::asio::buffer(second.data(), second.size())
    };
    wrote_any_ = true;
    const net::error_code ec = co_await over_->wire.write(out, limits_.idle);
    if (ec || end_upload_ || stop_.fired()) {
        co_return broken(ec, "the request was sent");
    }
    bytes_sent_ += first.size() + second.size();
    co_return result<void>{};
}

net::task<void> exchange::upload()
{
    const net::interrupt::scope ends(stop_, [this] { over_->wire.cancel(); });
    result<void> sent;
    while (true) {
        auto block = co_await upload_->next();
        if (!block) {
            sent = std::unexpected(std::move(block).error());
            break;
        }
        if (block->size() == 0) {
            break;
        }
        sent = co_await put(block->first, block->second);
        if (!sent) {
            break;
        }
    }
    if (sent) {
        upload_whole_ = true;
        if (have_head_) { // an answer that began early: from here on its silence counts
            over_->wire.read_until(after(limits_.idle));
        } else if (limits_.first_byte) {
            over_->wire.read_until(after(*limits_.first_byte));
        }
    } else if (!end_upload_) {
        upload_failed_ = std::move(sent).error();
        if (upload_failed_->from == origin::upstream && !stop_.fired()) {
            over_->wire.read_until(after(late_answer));
        } else {
            over_->wire.cancel(); // the client's body broke off: no answer is wanted any more
        }
    }
    upload_.reset();
    uploading_ = false;
    upload_done_.set();
}

// Until when the answer may be silent. While we still send it may wait for the rest of the request.
net::time_point exchange::silence() const
{
    return uploading_ ? net::never : after(limits_.idle);
}

net::task<result<const wire::response_head*>> exchange::head()
{
    std::size_t interim = 0;
    while (true) {
        auto scanned = wire::scan_response_head(over_->in.data(), limits_.head, head_);
        if (!scanned) {
            scanned.error().what = code::bad_framing;
            co_return fail(scanned);
        }
        if (*scanned) {
            const std::size_t size = **scanned;
            bytes_received_ += size;
            if (head_.interim()) {
                over_->in.consume(size);
                if (++interim > limits_.most_interim) {
                    co_return std::unexpected(failure{
                        .what = code::bad_framing,
                        .from = origin::upstream,
                        .text = "the upstream sent more than " + std::to_string(limits_.most_interim) +
                                " interim (1xx) responses; the policy's `limits.response_interim` raises that"
                    });
                }
                continue;
            }
            // The views in head_ must stay: the head is consumed with the first bytes of the body.
            give_ = size;
            have_head_ = true;
            over_->wire.read_until(silence());
            left_ = head_.content_length;
            until_close_ = head_.body == wire::framing::until_close;
            event_stream_ = head_.content_type.starts_with("text/event-stream");
            if (head_.body == wire::framing::chunked) {
                chunks_.emplace(origin::upstream);
            }
            if (head_.body == wire::framing::none || (head_.body == wire::framing::sized && left_ == 0)) {
                complete_ = true;
            }
            co_return &head_;
        }

        const net::interrupt::scope ends(stop_, [this] { over_->wire.cancel(); });
        if (stop_.fired()) {
            co_return broken({}, "its answer was awaited");
        }
        const net::error_code ec = co_await over_->in.more();
        if (ec) {
            if (upload_failed_ && !stop_.fired()) {
                co_return std::unexpected(*upload_failed_);
            }
            co_return broken(ec, "its answer was awaited");
        }
    }
}

net::task<lean<std::string_view>> exchange::next()
{
    while (true) {
        over_->in.consume(std::exchange(give_, 0));
        if (complete_) {
            co_return std::string_view{};
        }
        const std::string_view held = over_->in.data();
        if (!held.empty()) {
            if (head_.body == wire::framing::sized) {
                const auto size = static_cast<std::size_t>(std::min<std::uint64_t>(left_, held.size()));
                left_ -= size;
                give_ = size;
                bytes_received_ += size;
                complete_ = left_ == 0;
                co_return held.substr(0, size);
            }
            if (head_.body == wire::framing::until_close) {
                give_ = held.size();
                bytes_received_ += held.size();
                co_return held;
            }
            auto step = chunks_->feed(held);
            if (!step) {
                step.error().what = code::bad_chunk;
                co_return fail(step);
            }
            give_ = step->consumed;
            bytes_received_ += step->consumed;
            complete_ = chunks_->done();
            if (!step->payload.empty()) {
                co_return step->payload;
            }
            if (step->consumed != 0) {
                continue;
            }
        }

        const net::interrupt::scope ends(stop_, [this] { over_->wire.cancel(); });
        if (stop_.fired()) {
            co_return broken({}, "its answer was read");
        }
        if (upload_failed_ && upload_failed_->from != origin::upstream) {
            co_return std::unexpected(*upload_failed_); // the request will never be whole
        }
        over_->wire.read_until(silence());
        const net::error_code ec = co_await over_->in.more();
        if (ec == net::asio::error::eof && head_.body == wire::framing::until_close && !stop_.fired()) {
            complete_ = true;
            continue;
        }
        if (ec && !(upload_failed_ && upload_failed_->from != origin::upstream)) {
            co_return broken(ec, "its answer was read");
        }
    }
}

net::task<void> exchange::close()
{
    end_upload_ = true;
    if (uploading_) {
        return end_upload();
    }
    let_go();
    return net::task<>::done();
}

net::task<void> exchange::end_upload()
{
    upload_->abandon();
    over_->wire.cancel();
    co_await upload_done_.wait();
    let_go();
}

void exchange::let_go()
{
    over_->in.consume(std::exchange(give_, 0));
    if (have_head_ && head_.keeps) { // given up before the other side does it
        over_->idle_limit = std::min<std::chrono::milliseconds>(over_->idle_limit, *head_.keeps - margin);
    }
    const bool clean = have_head_ && complete_ && upload_whole_ && !upload_failed_ && head_.keep_alive &&
                       head_.body != wire::framing::until_close && over_->in.empty() &&
                       over_->idle_limit.count() > 0;
    if (clean) {
        // llama.cpp's server promises to keep the connection and closes it right behind a stream.
        over_.keep(event_stream_ ? after_stream : std::chrono::milliseconds{});
    } else {
        over_.discard();
    }
}

} // namespace gw::upstream
