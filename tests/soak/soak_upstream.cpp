// An upstream with a number of slots, a service time and faults at a given rate. It speaks what the router,
// the inference toolkit and OpenAI-like servers speak, and remembers every request id that it saw with its
// answer.
//
// usage: soak_upstream [--NAME VALUE]...       prints `listening PORT`, serves until it is ended
//   --port N           default: a free one
//   --slots N          requests at once; 0 (default): any number
//   --service MS       how long each takes (default 0)
//   --full queue       what the others get: `queue` (default) waits, `refuse` is a 429 without a time
//   --faults RATE      part of the requests that is answered wrongly, 0 (default) to 1
//   --kinds A:N,B:N    these faults, in this proportion: reset (before the head), reset_body, cut (a chunked
//   body ends
//                      early), stall (silence, then the end), garbage, drip (slow but good), 500, loading
//                      (503 with estimated_time), 503, 429, 429wait (Retry-After: 1), 402, 401, 403
//   --hold MS          event streams pause so long after their first word (default 0)
// GET /_/set?NAME=VALUE&... changes these while it runs; GET /_/seen tells `us id what` a line for all that
// is over,
// /_/stats counts, /_/reset cuts off all that it serves. `gone` stands for a peer that closed while it was
// served, with the time when that was seen.
#include "wire.hpp"

#include <boost/asio/co_spawn.hpp>
#include <boost/asio/detached.hpp>
#include <boost/asio/experimental/awaitable_operators.hpp>
#include <boost/asio/io_context.hpp>
#include <boost/asio/steady_timer.hpp>

#include <deque>
#include <map>
#include <memory>
#include <random>
#include <set>

namespace soak {
namespace {

using namespace boost::asio::experimental::awaitable_operators;
using std::chrono::milliseconds;

struct settings
{
    std::uint16_t port = 0;
    std::size_t slots = 0;
    milliseconds service{};
    milliseconds hold{};
    bool refuse = false;
    double faults = 0;
    std::vector<std::pair<std::string, double>> kinds{{"reset", 1}};

    bool set(std::string_view name, std::string_view value)
    {
        if (name == "port") {
            port = static_cast<std::uint16_t>(number(value));
        } else if (name == "slots") {
            slots = number(value);
        } else if (name == "service") {
            service = milliseconds(number(value));
        } else if (name == "hold") {
            hold = milliseconds(number(value));
        } else if (name == "full" && (value == "queue" || value == "refuse")) {
            refuse = value == "refuse";
        } else if (name == "faults") {
            faults = std::strtod(std::string(value).c_str(), nullptr);
        } else if (name == "kinds") {
            kinds.clear();
            for (std::size_t at = 0; at < value.size();) {
                const std::string one(value.substr(at, value.find(',', at) - at));
                const std::size_t colon = one.find(':');
                const double weight =
                    colon == std::string::npos ? 1 : std::strtod(one.c_str() + colon + 1, nullptr);
                kinds.emplace_back(one.substr(0, colon), weight);
                at += one.size() + 1;
            }
        } else {
            return false;
        }
        return true;
    }
};

struct request
{
    std::string head;
    std::string body;
    std::string id;
    std::string mark;
    bool chat = false;
    bool stream = false;
};

struct seen
{
    std::int64_t at = 0; // when it was over
    std::string id;
    std::string_view what; // a literal
};

class upstream
{
public:
    upstream(asio::io_context& io, settings how) : io_(io), how_(std::move(how)) {}

    asio::awaitable<void> accept(tcp::acceptor& from)
    {
        while (true) {
            auto [ec, socket] = co_await from.async_accept(use);
            if (ec) {
                asio::steady_timer pause(io_, milliseconds(50));
                co_await pause.async_wait(use);
                continue;
            }
            error_code ignored;
            socket.set_option(tcp::no_delay(true), ignored);
            asio::co_spawn(io_, serve(std::make_unique<peer>(peer{std::move(socket), {}})), asio::detached);
        }
    }

private:
    asio::awaitable<void> serve(std::unique_ptr<peer> to)
    {
        while (true) {
            request asked;
            asked.head = co_await to->head();
            if (asked.head.empty()) {
                co_return;
            }
            if (asked.head.find(" /_/") < 8) {
                const std::string text = control(asked.head);
                const bool sent = co_await to->send(response("200 OK", text, "text/plain"));
                if (!sent) {
                    co_return;
                }
                continue;
            }
            asked.id = field(asked.head, "x-request-id");
            const std::size_t size = number(field(asked.head, "content-length"));
            error_code ec;
            while (!ec && to->held.size() < size) {
                ec = co_await to->more();
            }
            if (ec) {
                over(asked, "gone");
                co_return;
            }
            asked.body = to->held.substr(0, size);
            to->held.erase(0, size);
            read(asked);

            serving_.insert(to.get());
            most_ = std::max(most_, serving_.size());
            const std::string_view what = co_await answer(*to, asked);
            serving_.erase(to.get());
            over(asked, what);
            if (!to->socket.is_open() || what == "gone") {
                co_return;
            }
        }
    }

    // The payload in whichever way it came.
    static void read(request& asked)
    {
        const std::string_view body = asked.body;
        if (asked.head.find("/chat/completions ") < asked.head.find("\r\n")) {
            asked.chat = true;
            asked.stream = body.find(R"("stream":true)") != std::string_view::npos;
            asked.mark = mark(quoted(body, R"("content":")"), asked.id);
        } else if (body.starts_with("{")) {
            const std::string_view text = quoted(body, R"("inputs":")");
            const std::size_t comma = text.find(',');
            asked.mark =
                mark(from_base64(comma == std::string_view::npos ? text : text.substr(comma + 1)), asked.id);
        } else {
            asked.mark = mark(body, asked.id);
        }
    }

    asio::awaitable<std::string_view> answer(peer& to, const request& asked)
    {
        if (asked.head.starts_with("GET ")) { // somebody asks for its health
            const bool sent = co_await to.send(response("200 OK", "{}"));
            co_return sent ? "health" : "gone";
        }
        std::bernoulli_distribution wrong(how_.faults);
        const std::string kind = wrong(random_) ? pick() : std::string();
        if (const auto refusal = refusals().find(kind); refusal != refusals().end()) {
            const bool sent = co_await to.send(refusal->second);
            co_return sent ? status_of(refusal->second) : "gone";
        }
        // A slot, then the time that it takes.
        if (how_.slots != 0 && working_ >= how_.slots) {
            if (how_.refuse) {
                const bool sent = co_await to.send(refusals().at("429"));
                co_return sent ? "429" : "gone";
            }
            asio::steady_timer mine(io_, asio::steady_timer::time_point::max());
            queue_.push_back(&mine);
            const bool left = co_await watched(to, mine);
            if (std::erase(queue_, &mine) != 0) {
                co_return "gone";
            }
            if (left) {
                release();
                co_return "gone";
            }
        } else {
            ++working_;
        }
        asio::steady_timer work(io_, kind == "stall" ? milliseconds(1000) : how_.service);
        const bool left = how_.service.count() != 0 || kind == "stall" ? co_await watched(to, work) : false;
        release();
        if (left) {
            co_return "gone";
        }
        if (kind == "stall") {
            to.socket.close();
            co_return "stall";
        }
        if (kind == "reset") {
            to.reset();
            co_return "reset";
        }
        if (kind == "garbage") {
            (void)co_await to.send("\x16\x03HTTP/9.9 what\r\n\r\n");
            to.socket.close();
            co_return "garbage";
        }
        const std::string_view told = co_await tell(to, asked, kind);
        co_return told;
    }

    // A slot goes to the first who waits.
    void release()
    {
        if (queue_.empty()) {
            --working_;
            return;
        }
        asio::steady_timer* next = queue_.front();
        queue_.pop_front();
        next->cancel();
    }

    asio::awaitable<std::string_view> tell(peer& to, const request& asked, const std::string& kind)
    {
        const std::string whole = asked.chat ? chat(asked.mark) : classification(asked.mark);
        if (!asked.stream) {
            const std::string bytes = response("200 OK", whole);
            if (kind == "reset_body" || kind == "cut") {
                (void)co_await to.send(std::string_view(bytes).substr(0, bytes.size() - whole.size() / 2));
                if (kind == "cut") {
                    to.socket.close();
                } else {
                    to.reset();
                }
                co_return kind == "cut" ? "cut" : "reset_body";
            }
            const std::size_t step =
                kind == "drip" ? std::max<std::size_t>(16, bytes.size() / 8) : bytes.size();
            for (std::size_t at = 0; at < bytes.size(); at += step) {
                asio::steady_timer next(io_, milliseconds(20));
                const bool left = at != 0 && co_await watched(to, next);
                const bool sent = !left && co_await to.send(std::string_view(bytes).substr(at, step));
                if (!sent) {
                    co_return "gone";
                }
            }
            co_return "200";
        }

        // Events, each a chunk of its own.
        std::string out =
            "HTTP/1.1 200 OK\r\ncontent-type: text/event-stream\r\ntransfer-encoding: chunked\r\n\r\n";
        const std::vector<std::string> events = chat_events(asked.mark);
        for (std::size_t i = 0; i < events.size(); ++i) {
            std::array<char, 20> size;
            out.append(
                size.data(),
                static_cast<std::size_t>(std::snprintf(size.data(), size.size(), "%zx\r\n", events[i].size()))
            );
            out += events[i] + "\r\n";
            const bool breaks = (kind == "reset_body" || kind == "cut") && i == events.size() / 2;
            const bool pause = kind == "drip" || (i == 1 && how_.hold.count() != 0);
            if (i + 1 == events.size()) {
                out += "0\r\n\r\n";
            } else if (!breaks && !pause) {
                continue;
            }
            const bool sent = co_await to.send(out);
            out.clear();
            if (!sent) {
                co_return "gone";
            }
            if (breaks) {
                if (kind == "cut") {
                    to.socket.close();
                } else {
                    to.reset();
                }
                co_return kind == "cut" ? "cut" : "reset_body";
            }
            if (pause) {
                asio::steady_timer next(io_, kind == "drip" ? milliseconds(5) : how_.hold);
                const bool left = co_await watched(to, next);
                if (left) {
                    co_return "gone";
                }
            }
        }
        co_return "200";
    }

    // Waits for the timer, or until the peer closes: true.
    static asio::awaitable<bool> watched(peer& to, asio::steady_timer& timer)
    {
        const auto first =
            co_await (timer.async_wait(use) || to.socket.async_wait(tcp::socket::wait_read, use));
        co_return first.index() == 1;
    }

    static std::string
    response(std::string_view status, std::string_view body, std::string_view type = "application/json")
    {
        return "HTTP/1.1 " + std::string(status) + "\r\ncontent-type: " + std::string(type) +
               "\r\ncontent-length: " + std::to_string(body.size()) + "\r\n\r\n" + std::string(body);
    }

    static std::string_view status_of(std::string_view bytes) { return bytes.substr(9, 3); }

    static const std::map<std::string, std::string>& refusals()
    {
        static const std::map<std::string, std::string> all{
            {"500", response("500 Internal Server Error", R"({"error":"boom"})")},
            {"503", response("503 Service Unavailable", R"({"error":"the model server crashed"})")},
            {"loading",
             response(
                 "503 Service Unavailable",
                 R"({"error":"Model soak is currently loading","estimated_time":1.0})"
             )},
            {"429", response("429 Too Many Requests", R"({"error":"busy"})")},
            {"429wait", response("429 Too Many Requests\r\nretry-after: 1", R"({"error":"slow down"})")},
            {"402", response("402 Payment Required", R"({"error":"You have depleted your credits."})")},
            {"401", response("401 Unauthorized", R"({"error":"Invalid username or password."})")},
            {"403", response("403 Forbidden", R"({"error":"not for you"})")},
        };
        return all;
    }

    std::string pick()
    {
        std::vector<double> weights;
        for (const auto& [name, weight] : how_.kinds) {
            weights.push_back(weight);
        }
        return how_.kinds[std::discrete_distribution<std::size_t>(weights.begin(), weights.end())(random_)]
            .first;
    }

    void over(const request& asked, std::string_view what)
    {
        seen_.push_back({.at = now_us(), .id = asked.id, .what = what});
    }

    // What is asked under /_/.
    std::string control(const std::string& head)
    {
        const std::size_t from = head.find(" /_/") + 4;
        const std::string target = head.substr(from, head.find(' ', from) - from);
        if (target.starts_with("set?")) {
            for (std::size_t at = 4; at < target.size();) {
                const std::string one = target.substr(at, target.find('&', at) - at);
                const std::size_t equals = one.find('=');
                if (!how_.set(one.substr(0, equals), one.substr(equals + 1))) {
                    return "cannot set " + one + "\n";
                }
                at += one.size() + 1;
            }
            return "set\n";
        }
        if (target == "reset") {
            for (peer* each : serving_) {
                each->reset();
            }
            return "reset\n";
        }
        if (target == "seen") {
            std::string text;
            for (const seen& each : seen_) {
                text += std::to_string(each.at) + " " + (each.id.empty() ? "-" : each.id) + " ";
                text += each.what;
                text += "\n";
            }
            return text;
        }
        return "busy " + std::to_string(serving_.size()) + "\nmost " + std::to_string(most_) + "\nseen " +
               std::to_string(seen_.size()) + "\n";
    }

    asio::io_context& io_;
    settings how_;
    std::deque<asio::steady_timer*> queue_; // who waits for a slot
    std::size_t working_ = 0;               // slots in use
    std::set<peer*> serving_;               // with a request that is here
    std::size_t most_ = 0;
    std::deque<seen> seen_;
    std::mt19937_64 random_{std::random_device{}()};
};

} // namespace
} // namespace soak

int main(int count, char** values)
{
    using namespace soak;
    settings how;
    for (int i = 1; i < count; i += 2) {
        const std::string_view name = values[i];
        if (!name.starts_with("--") || i + 1 == count || !how.set(name.substr(2), values[i + 1])) {
            std::fprintf(
                stderr,
                "soak_upstream: what is %s? The head of tests/soak/soak_upstream.cpp tells\n",
                values[i]
            );
            return 2;
        }
    }
    asio::io_context io{1};
    tcp::acceptor in(io, {asio::ip::make_address("127.0.0.1"), how.port});
    std::printf("listening %u\n", static_cast<unsigned>(in.local_endpoint().port()));
    std::fflush(stdout);
    upstream all(io, how);
    asio::co_spawn(io, all.accept(in), asio::detached);
    io.run();
}
