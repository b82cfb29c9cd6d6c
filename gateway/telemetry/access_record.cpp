#include "telemetry/access_record.hpp"

#include "wire/json_text.hpp"

#include <algorithm>
#include <array>
#include <cerrno>
#include <charconv>
#include <climits>
#include <cstdio>
#include <ctime>
#include <poll.h>
#include <unistd.h>
#include <utility>

namespace gw::telemetry {
namespace {

constexpr std::size_t most_queued = 8ULL << 20U;
constexpr std::size_t flush_at = 32ULL << 10U;
constexpr std::size_t longest_field = 512;
constexpr std::chrono::milliseconds last_words{500}; // for a reader that stalls when we end

void number(std::string& out, std::uint64_t value)
{
    std::array<char, 20> text;
    const auto done = std::to_chars(text.data(), text.data() + text.size(), value);
    out.append(text.data(), static_cast<std::size_t>(done.ptr - text.data()));
}

// With two digits behind the point.
void number(std::string& out, double value)
{
    const auto hundredths = static_cast<std::uint64_t>(value * 100 + 0.5);
    number(out, hundredths / 100);
    const std::array<char, 3> rest{
        '.', static_cast<char>('0' + hundredths / 10 % 10), static_cast<char>('0' + hundredths % 10)
    };
    out.append(rest.data(), rest.size());
}

void text(std::string& out, std::string_view value)
{
    wire::append_json_string(out, value.substr(0, longest_field));
}

// 2026-11-23T12:00:00.123Z; the seconds' text is made once a second and thread.
void time_text(std::string& out, std::chrono::system_clock::time_point at)
{
    thread_local std::time_t last = -1;
    thread_local std::array<char, 24> seconds{};
    const auto since = std::chrono::duration_cast<std::chrono::milliseconds>(at.time_since_epoch()).count();
    const std::time_t now = since / 1000;
    if (now != last) {
        std::tm parts{};
        ::gmtime_r(&now, &parts);
        std::strftime(seconds.data(), seconds.size(), "%Y-%m-%dT%H:%M:%S", &parts);
        last = now;
    }
    out += '"';
    out += seconds.data();
    const auto ms = static_cast<unsigned>(since % 1000);
    out += '.';
    out += static_cast<char>('0' + ms / 100);
    out += static_cast<char>('0' + ms / 10 % 10);
    out += static_cast<char>('0' + ms % 10);
    out += "Z\"";
}

} // namespace

void format(std::string& out, const access_record& what)
{
    out += R"({"time":)";
    time_text(out, what.at);
    out += R"(,"request_id":)";
    text(out, what.request_id);
    out += R"(,"client":)";
    text(out, what.client);
    out += R"(,"dialect":)";
    text(out, what.dialect);
    out += R"(,"door":)";
    text(out, what.door);
    if (!what.task.empty()) {
        out += R"(,"task":)";
        text(out, what.task);
    }
    out += R"(,"model":)";
    text(out, what.model);
    if (!what.entry.empty() && what.entry != what.model) {
        out += R"(,"entry":)";
        text(out, what.entry);
    }
    out += R"(,"route":[)";
    bool first = true;
    for (const auto& each : what.route) {
        out += first ? R"({"upstream":)" : R"(,{"upstream":)";
        first = false;
        text(out, each.upstream);
        if (!each.token.empty()) {
            out += R"(,"token":)";
            text(out, each.token);
        }
        if (each.status != 0) {
            out += R"(,"status":)";
            number(out, static_cast<std::uint64_t>(each.status));
        }
        out += R"(,"outcome":)";
        text(out, each.outcome);
        if (each.bytes_sent != 0 || each.bytes_received != 0) {
            out += R"(,"bytes_sent":)";
            number(out, each.bytes_sent);
            out += R"(,"bytes_received":)";
            number(out, each.bytes_received);
            out += R"(,"ms":)";
            number(out, each.ms);
        }
        out += '}';
    }
    out += R"(],"status":)";
    number(out, static_cast<std::uint64_t>(what.status));
    if (!what.error.empty()) {
        out += R"(,"error":)";
        text(out, what.error);
    }
    out += R"(,"bytes_in":)";
    number(out, what.bytes_in);
    out += R"(,"bytes_out":)";
    number(out, what.bytes_out);
    if (what.no_copy) {
        out += R"(,"no_copy":true)";
    }
    if (!what.used.empty()) {
        out += R"(,"usage":{)";
        if (what.used.input_tokens) {
            out += R"("input_tokens":)";
            number(out, *what.used.input_tokens);
        }
        if (what.used.output_tokens) {
            out += what.used.input_tokens ? R"(,"output_tokens":)" : R"("output_tokens":)";
            number(out, *what.used.output_tokens);
        }
        out += '}';
    }
    if (what.ms_hub >= 0) {
        out += R"(,"ms_hub":)";
        number(out, what.ms_hub);
    }
    if (what.ms_first_byte >= 0) {
        out += R"(,"ms_first_byte":)";
        number(out, what.ms_first_byte);
    }
    out += R"(,"ms":)";
    number(out, what.ms);
    out += "}\n";
}

line_writer::line_writer(int fd) : fd_(fd), thread_([this] { run(); }) {}

line_writer::~line_writer()
{
    {
        const std::lock_guard lock(guard_);
        ending_ = true;
    }
    wake_.notify_one();
    thread_.join();
}

void line_writer::put(std::string&& text, std::uint64_t lines)
{
    {
        const std::lock_guard lock(guard_);
        if (queued_ + text.size() > most_queued) {
            dropped_.fetch_add(lines, std::memory_order_relaxed);
            return;
        }
        queued_ += text.size();
        queue_.push_back(std::move(text));
    }
    wake_.notify_one();
}

void line_writer::run()
{
    std::unique_lock lock(guard_);
    while (true) {
        wake_.wait(lock, [this] { return ending_ || !queue_.empty(); });
        if (queue_.empty()) {
            return;
        }
        const std::string text = std::move(queue_.front());
        queue_.pop_front();
        lock.unlock();
        const bool read = write_out(text);
        lock.lock();
        queued_ -= text.size();
        if (!read && ending_) {
            return; // nobody will read the rest either
        }
    }
}

// A reader that stalls must not keep the process from ending: a pipe that is writable takes PIPE_BUF bytes
// without a wait.
bool line_writer::write_out(std::string_view text)
{
    while (!text.empty()) {
        pollfd one{.fd = fd_, .events = POLLOUT, .revents = 0};
        const int ready = ::poll(&one, 1, static_cast<int>(last_words.count()));
        if (ready == 0) {
            const std::lock_guard lock(guard_);
            if (ending_) {
                return false;
            }
            continue;
        }
        const std::string_view next = within_line_ && lost_ ? "\n" : text.substr(0, PIPE_BUF);
        const ssize_t n = ready < 0 ? -1 : ::write(fd_, next.data(), next.size());
        if (n > 0) {
            const auto size = static_cast<std::size_t>(n);
            within_line_ = next[size - 1] != '\n';
            if (lost_ && next.data() != text.data()) {
                lost_ = false;
                continue;
            }
            lost_ = false;
            text.remove_prefix(size);
        } else if (n == 0 || (errno != EINTR && errno != EAGAIN)) {
            drop(text); // a full disk, or nobody there any more
            return false;
        }
    }
    return true;
}

void line_writer::drop(std::string_view text)
{
    dropped_.fetch_add(static_cast<std::uint64_t>(std::ranges::count(text, '\n')), std::memory_order_relaxed);
    lost_ = true;
}

void access_log::add(const access_record& what)
{
    telemetry::format(buffer_, what);
    ++lines_;
    if (buffer_.size() >= flush_at) {
        flush();
    }
}

void access_log::flush()
{
    if (buffer_.empty()) {
        return;
    }
    std::string full;
    full.reserve(buffer_.capacity());
    full.swap(buffer_);
    to_.put(std::move(full), std::exchange(lines_, 0));
}

} // namespace gw::telemetry
