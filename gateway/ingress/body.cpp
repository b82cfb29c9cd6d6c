#include "ingress/body.hpp"

#include "ingress/reply.hpp"
#include "payload/media_type.hpp"
#include "payload/tasks.hpp"

#include <boost/asio/error.hpp>

#include <algorithm>
#include <array>

namespace gw::ingress {
namespace {

// A body up to this size is waited for in the connection's buffer; up to `whole_before` it is whole before a
// candidate is chosen, so that it may be a probe.
constexpr std::size_t small = 60 * 1024;
constexpr std::uint64_t whole_before = 256 * 1024;
constexpr std::uint64_t pause_watch = net::reader::full_size;

std::unexpected<failure> too_large(std::uint64_t limit, std::string_view key)
{
    failure why{.what = code::body_too_large, .from = origin::client};
    why.text = "the body is larger than " + std::to_string(limit) + " bytes; the policy's `" +
               std::string(key) + "` raises that";
    return std::unexpected(std::move(why));
}

} // namespace

body::body(
    dispatch::core& here,
    const config::settings& now,
    net::stream& wire,
    net::reader& in,
    net::interrupt& stop,
    std::size_t at
)
    : here_(here), now_(now), wire_(wire), in_(in), stop_(stop), at_(at), in_buffer_(at)
{
}

body::~body() = default;

failure body::gone(const net::error_code& ec) const
{
    if (ec == net::asio::error::timed_out) {
        return {
            .what = code::request_timeout,
            .from = origin::client,
            .text = "the body arrives too slowly: after the policy's `limits.body_grace` it must bring " +
                    std::to_string(now_.limits.body_min_rate) + " bytes a second (`limits.body_min_rate`)",
            .close = true
        };
    }
    if (stop_.fired()) {
        return {
            .what = stop_.why(), .from = stop_.why() == code::client_gone ? origin::client : origin::gateway
        };
    }
    return {.what = code::client_gone, .from = origin::client, .detail = ec.message(), .close = true};
}

net::task<result<void>> body::first_bytes(std::size_t want, pace& speed)
{
    net::error_code ec;
    while (!ec && in_.data().size() - at_ < want) {
        const auto now = net::clock::now();
        if (speed.too_slow(now, in_.data().size() - at_)) {
            ec = net::asio::error::timed_out;
            break;
        }
        wire_.read_until(now + now_.limits.body_grace);
        ec = co_await in_.more();
    }
    wire_.read_until(net::never); // the read that watches for the client has no limit
    if (ec) {
        co_return std::unexpected(gone(ec));
    }
    co_return result<void>{};
}

net::task<result<void>> body::begin(const wire::request_head& head, door at)
{
    framing_ = head.body;
    left_ = head.content_length;
    const bool empty = framing_ == wire::framing::none || (framing_ == wire::framing::sized && left_ == 0);
    const bool says_json = is_chat(at) || is_openai_task(at) || payloads::is_json(head.content_type);
    const std::uint64_t json_limit = now_.limits.payload_bytes / 3 * 4 + now_.limits.json_bytes;
    if (framing_ == wire::framing::chunked) {
        chunks_.emplace(origin::client);
    }
    if (empty) {
        received_ = whole_ = true;
        json_ = says_json;
        if (json_) {
            co_return refuse(code::invalid_json, "the body is empty; a JSON object is expected");
        }
        co_return result<void>{};
    }

    // Too large for anything: refused before a byte of it is read, and without a 100.
    if (framing_ == wire::framing::sized && left_ > json_limit) {
        co_return too_large(now_.limits.payload_bytes, "limits.payload_bytes");
    }
    const bool says_nothing = !says_json && payloads::canonical(head.content_type).empty();
    if (framing_ == wire::framing::sized && !says_json && !says_nothing &&
        left_ > now_.limits.payload_bytes) {
        co_return too_large(now_.limits.payload_bytes, "limits.payload_bytes");
    }
    if (head.expect_continue && in_.data().size() == at_) {
        static constexpr std::string_view go_on = "HTTP/1.1 100 Continue\r\n\r\n";
        const std::array<net::asio::const_buffer, 1> out{net::asio::buffer(go_on)};
        const net::error_code ec = co_await wire_.write(out, now_.limits.write_timeout);
        if (ec) {
            co_return std::unexpected(gone(ec));
        }
    }

    // Is it JSON? Told by its type, or by its first byte when nothing says so.
    const bool fits = framing_ == wire::framing::sized && left_ <= small;
    const std::uint64_t look =
        framing_ == wire::framing::sized ? std::min<std::uint64_t>(left_, payloads::sniff_bytes) : 1;
    const auto want = static_cast<std::size_t>(fits ? left_ : look);
    pace speed(now_.limits, net::clock::now());
    if (in_.data().size() - at_ < want) {
        auto arrived = co_await first_bytes(want, speed);
        if (!arrived) {
            co_return fail(arrived);
        }
    }
    json_ = says_json;
    if (says_nothing && framing_ == wire::framing::sized) {
        json_ = payloads::looks_like_json(in_.data().substr(at_));
        maybe_binary_ = json_;
    } else if (says_nothing) {
        // Chunked: the first byte of the payload is behind the first size line.
        wire::chunk_decoder peek(origin::client);
        std::string_view rest = in_.data().substr(at_);
        std::string_view payload;
        while (payload.empty()) {
            auto step = peek.feed(rest);
            if (!step) {
                co_return fail(step);
            }
            payload = step->payload;
            rest.remove_prefix(step->consumed);
            if (peek.done()) {
                break;
            }
            if (payload.empty() && step->consumed == 0) {
                const std::size_t used = in_.data().size() - rest.size();
                auto more = co_await first_bytes(in_.data().size() - at_ + 1, speed);
                if (!more) {
                    co_return fail(more);
                }
                rest = in_.data().substr(used);
            }
        }
        json_ = payloads::looks_like_json(payload);
        maybe_binary_ = json_;
    }
    limit_ = json_ ? json_limit : now_.limits.payload_bytes;
    if (framing_ == wire::framing::sized && left_ > limit_) {
        co_return too_large(now_.limits.payload_bytes, "limits.payload_bytes");
    }
    if (json_) {
        wire::json_limits bounds;
        bounds.depth = now_.limits.json_depth;
        bounds.tokens = now_.limits.json_tokens;
        bounds.plain_bytes = now_.limits.json_bytes;
        bounds.long_bytes = now_.limits.payload_bytes / 3 * 4 + 4;
        scanner_.emplace(bounds);
    }

    // Small: it lies in the buffer, whole.
    if (fits) {
        memory_ = in_.data().substr(at_, static_cast<std::size_t>(left_));
        in_buffer_ += static_cast<std::size_t>(left_);
        received_ = true;
        if (json_) {
            auto scanned = scanner_->feed(memory_);
            auto index = scanned ? scanner_->finish()
                                 : result<wire::json_index>(std::unexpected(std::move(scanned).error()));
            if (!index && maybe_binary_ && index.error().what == code::invalid_json) {
                json_ = false;
            } else if (!index) {
                co_return fail(index);
            } else {
                index_ = std::move(*index);
            }
        }
        whole_ = true;
        co_return result<void>{};
    }

    // Larger, or of unknown length: into a log.
    const bool streams = framing_ == wire::framing::sized && !json_;
    std::optional<std::uint64_t> expected;
    if (framing_ == wire::framing::sized) {
        expected = left_;
    }
    auto space =
        here_.all.store.admit(expected, streams ? payloads::copies::wanted : payloads::copies::required);
    if (!space) {
        co_return fail(space);
    }
    log_ = std::make_unique<payloads::replay>(
        here_.all.store, [&loop = here_.loop](auto work) { loop.post(std::move(work)); }, std::move(*space)
    );
    changed_ = std::make_unique<net::event>(here_.loop);
    waiters_ = std::make_unique<net::event>(here_.loop);
    in_.consume(at_);
    at_ = in_buffer_ = 0;
    receiving_ = true;
    net::spawn(receive(), [this](const std::exception_ptr& bug) {
        if (bug) { // no memory: stop() still waits for us
            end(failure{.what = code::internal, .detail = "the body's coroutine ended by an exception"});
        }
    });
    if (!streams || left_ + log_->size() <= whole_before) {
        auto whole = co_await wait_whole();
        co_return whole;
    }
    while (log_->size() < payloads::sniff_bytes && receiving_) {
        co_await waiters_->wait();
    }
    if (failed_) {
        co_return std::unexpected(*failed_);
    }
    co_return result<void>{};
}

result<void> body::accept(std::string_view payload, bool in_place)
{
    if (payload.empty()) {
        return {};
    }
    if (log_->size() + payload.size() > limit_) {
        auto why = too_large(now_.limits.payload_bytes, "limits.payload_bytes");
        why.error().close = true;
        return why;
    }
    if (scanner_) {
        auto fed = scanner_->feed(payload);
        if (!fed) {
            if (!maybe_binary_ || fed.error().what != code::invalid_json) {
                return fed;
            }
            scanner_.reset();
            json_ = false;
        }
    }
    if (in_place) {
        log_->commit(payload.size());
    } else {
        log_->append(payload);
    }
    return {};
}

result<bool> body::take()
{
    while (true) {
        // What a pause read lies in a second buffer, which follows once the first is consumed.
        const std::string_view held = in_.data();
        if (framing_ == wire::framing::sized) {
            const auto size = static_cast<std::size_t>(std::min<std::uint64_t>(left_, held.size()));
            auto accepted = accept(held.substr(0, size), false);
            if (!accepted) {
                return fail(accepted);
            }
            in_.consume(size);
            left_ -= size;
            if (left_ == 0 || in_.empty()) {
                return left_ == 0;
            }
            continue;
        }
        if (held.empty()) {
            return false;
        }
        auto step = chunks_->feed(held);
        if (!step) {
            return fail(step);
        }
        if (!step->payload.empty()) {
            auto accepted = accept(step->payload, false);
            if (!accepted) {
                return fail(accepted);
            }
        }
        in_.consume(step->consumed);
        if (chunks_->done()) {
            return true;
        }
        if (step->consumed == 0) {
            return false;
        }
    }
}

bool pace::too_slow(net::time_point now, std::uint64_t bytes)
{
    const auto ms = std::chrono::duration_cast<std::chrono::milliseconds>(now - since_);
    if (ms <= by_.body_grace) {
        return false;
    }
    const bool slow = (bytes - had_) * 1000 / static_cast<std::uint64_t>(ms.count()) < by_.body_min_rate;
    since_ = now;
    had_ = bytes;
    return slow;
}

net::task<void> body::receive()
{
    pace speed(now_.limits, net::clock::now());
    std::optional<failure> why;
    while (true) {
        auto whole = take();
        if (!whole) {
            why = std::move(whole).error();
            break;
        }
        if (*whole) {
            received_ = true;
            break;
        }
        waiters_->set();
        if (ending_) {
            why = failure{.what = code::internal};
            break;
        }
        if (!log_->wants_more()) {
            // Back-pressure: the readers are slower. The connection is still watched.
            log_->when_wants_more([this] { changed_->set(); });
            in_.watch(pause_watch, [this] {
                stop_.fire(code::client_gone);
                changed_->set();
            });
            wire_.read_until(net::never);
            const auto paused = net::clock::now();
            co_await changed_->wait();
            speed.excuse(net::clock::now() - paused);
            in_.unwatch();
            if (log_->failed() != nullptr) {
                why = *log_->failed();
                break;
            }
            if (stop_.fired()) {
                why = gone({});
                break;
            }
            continue;
        }

        const auto now = net::clock::now();
        if (speed.too_slow(now, log_->size())) {
            why = gone(net::asio::error::timed_out);
            break;
        }
        wire_.read_until(now + now_.limits.body_grace);
        net::error_code ec;
        if (framing_ == wire::framing::sized && in_.can_read_to()) {
            // Straight to where it stays.
            const std::span<char> room = log_->room();
            if (room.empty()) {
                why = log_->failed() != nullptr ? *log_->failed() : failure{.what = code::internal};
                break;
            }
            const auto want = static_cast<std::size_t>(std::min<std::uint64_t>(room.size(), left_));
            const std::size_t came = co_await in_.read_to(room.first(want));
            ec = in_.failed();
            if (came != 0) {
                ec = {};
                left_ -= came;
                auto accepted = accept({room.data(), came}, true);
                if (!accepted) {
                    why = std::move(accepted).error();
                    break;
                }
            }
        } else {
            ec = co_await in_.more();
        }
        if (ec) {
            why = gone(ec);
            if (why->what == code::client_gone && !ending_) {
                stop_.fire(code::client_gone);
            }
            break;
        }
    }
    wire_.read_until(net::never);
    if (!why && scanner_) {
        auto index = scanner_->finish();
        if (index) {
            index_ = std::move(*index);
        } else if (maybe_binary_ && index.error().what == code::invalid_json) {
            json_ = false;
        } else {
            why = std::move(index).error();
        }
    }
    end(std::move(why));
}

void body::end(std::optional<failure> why)
{
    if (why) {
        failed_ = *why;
        log_->fail(std::move(*why));
    } else {
        whole_ = true;
        log_->finish();
        if (on_whole) {
            on_whole();
        }
    }
    receiving_ = false;
    waiters_->set();
}

net::task<result<void>> body::wait_whole()
{
    if (receiving_) { // nobody reads it meanwhile, so it needs its place again
        log_->keep_copy(true);
        dropped_ = false;
    }
    while (receiving_) {
        if (!log_->wants_more() && !log_->copying() && log_->failed() == nullptr) {
            co_return std::unexpected(
                payloads::out_of_space("a body that has to be whole first, and no copy of it")
            );
        }
        const net::interrupt::scope ends(stop_, [this] { waiters_->set(); });
        co_await waiters_->wait();
        if (stop_.fired() && receiving_) {
            co_return std::unexpected(gone({}));
        }
    }
    if (failed_) {
        co_return std::unexpected(*failed_);
    }
    co_return result<void>{};
}

void body::drop_copy()
{
    if (log_ && !dropped_) {
        dropped_ = log_->replayable();
        log_->keep_copy(false);
    }
}

net::task<void> body::stop()
{
    ending_ = true;
    return receiving_ ? end_receiving() : net::task<>::done();
}

net::task<void> body::end_receiving()
{
    changed_->set();
    in_.unwatch();
    wire_.cancel();
    while (receiving_) {
        co_await waiters_->wait();
    }
}

} // namespace gw::ingress
