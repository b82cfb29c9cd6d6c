#include "dispatch/waker.hpp"

#include "adapters/classify.hpp"
#include "net/deadline.hpp"
#include "telemetry/log.hpp"
#include "upstream/background.hpp"
#include "upstream/exchange.hpp"
#include "wire/retry.hpp"

#include <algorithm>
#include <mutex>
#include <unordered_map>
#include <utility>
#include <vector>

namespace gw::dispatch {
namespace {

using std::chrono::milliseconds;
using std::chrono::seconds;

constexpr seconds slack{10};    // for an answer, behind the time that it may be held
constexpr seconds body_idle{5}; // the body of a health route is a few bytes, or none
constexpr std::size_t most_body = 64 * 1024;
constexpr seconds longest_pause{60}; // whatever a Retry-After says

// Why a waker stopped, for whoever reads the log: empty where there is nothing to do about it.
std::string_view advice(waking::end why)
{
    switch (why) {
    case waking::end::paused:
        return "it is paused: its owner has to resume it";
    case waking::end::refused:
        return "its health route refuses every token of the upstream; requests find out when it is awake";
    case waking::end::no_route:
        return "its health route does not tell: name another one by `health`; requests find out when it is "
               "awake";
    case waking::end::unreachable:
        return "it does not answer at all";
    case waking::end::given_up:
        return "it did not start within its `wake_timeout`: look at its status and its logs";
    case waking::end::ready:
    case waking::end::unwanted:
    case waking::end::gone:
        break;
    }
    return "";
}

std::string duration(milliseconds span)
{
    return span % seconds(60) == milliseconds::zero()  ? std::to_string(span / seconds(60)) + " min"
           : span % seconds(1) == milliseconds::zero() ? std::to_string(span / seconds(1)) + " s"
                                                       : std::to_string(span.count()) + " ms";
}

} // namespace

struct waker::parts
{
    parts(standing& of, net::resolver& names, std::string says)
        : known(of), version(std::move(says)), thread(names)
    {
    }

    // Where an endpoint is, as the policy has it.
    struct endpoint
    {
        std::shared_ptr<const snapshot> from;
        const config::upstream* to = nullptr;
    };
    // One that is being woken.
    struct job
    {
        endpoint at; // as it was named last
        net::time_point began{};
        net::interrupt* running = nullptr; // of its waking request
        bool stale = false;                // that one counts no more: its waker stopped meanwhile
        std::string last;                  // what was heard last, in our words
    };
    // What came of one waking request.
    struct answer
    {
        waking::heard what = waking::heard::silent;
        milliseconds wait{}; // Retry-After
        std::string why;     // in our words
    };

    [[nodiscard]] endpoint find(std::uint64_t place) const;
    void step_all();
    // False: its waker stopped.
    bool step(std::uint64_t place, job& it);
    void tell(const job& it, waking::end why);
    net::task<void> ask(std::uint64_t place, endpoint at, const config::token* with, seconds hold);
    net::task<answer>
    exchange_with(endpoint at, const config::token* with, seconds hold, net::interrupt& stop);

    standing& known;
    const std::string version;

    // The thread's own.
    upstream::background thread;
    std::unordered_map<std::uint64_t, job> jobs;

    mutable std::mutex guard;                              // of all below
    std::unordered_map<std::uint64_t, endpoint> endpoints; // of the policy, by place
    bool over = false;
};

waker::waker(standing& known, net::resolver& names, std::string version)
    : parts_(std::make_unique<parts>(known, names, std::move(version)))
{
}

waker::~waker()
{
    stop();
}

void waker::stop()
{
    {
        const std::lock_guard lock(parts_->guard);
        parts_->over = true; // nobody else starts it any more
    }
    if (parts_->thread.started()) {
        parts_->thread.stop();
    }
}

void waker::use(std::shared_ptr<const snapshot> now)
{
    std::unordered_map<std::uint64_t, parts::endpoint> endpoints;
    std::unordered_set<std::uint64_t> places;
    for (const auto& each : now->policy->upstreams) {
        if (each->kind == config::kind::dedicated && each->wake_timeout > milliseconds::zero()) {
            const std::uint64_t place = place_of(*each, {});
            endpoints.try_emplace(place, parts::endpoint{.from = now, .to = each.get()});
            places.insert(place);
        }
    }
    const std::lock_guard lock(parts_->guard);
    parts_->endpoints = std::move(endpoints);
    parts_->known.bridge.keep(places);
}

void waker::meets(const config::upstream& to, verdict& what)
{
    // 503s of servers on this machine, and Spaces that sleep, come here one day.
    if (what.what != outcome::warming || what.where != scope::upstream ||
        to.kind != config::kind::dedicated) {
        return;
    }
    const std::uint64_t place = place_of(to, {});
    std::string name;
    waking::start how{};
    milliseconds limit{};
    {
        const std::lock_guard lock(parts_->guard);
        const auto found = parts_->endpoints.find(place);
        if (parts_->over || found == parts_->endpoints.end()) {
            return;
        }
        // Under the lock, so that a reload which takes it away comes before or behind it.
        const config::upstream& it = *found->second.to;
        name = it.name;
        limit = it.wake_timeout;
        if (!parts_->thread.started()) { // before anything waits for it: there may be no thread to be had
            parts_->thread.start([its = parts_.get()](net::time_point) { its->step_all(); });
        }
        how = parts_->known.sleeps(it, what, net::clock::now());
        if (how == waking::start::begun) {
            parts_->thread.post([its = parts_.get(), place, at = found->second] {
                if (!its->thread.ending()) {
                    auto& mine = its->jobs[place];
                    mine.at = at;
                    mine.began = net::clock::now();
                    its->step_all();
                }
            });
        }
    }
    if (how == waking::start::begun) {
        telemetry::log(telemetry::level::info, "an endpoint sleeps and is woken", {{"upstream", name}});
    } else if (how == waking::start::given_up) {
        what.what = outcome::unavailable;
        what.retry_after.reset();
        what.text = "the endpoint did not start within " + duration(limit) +
                    ": look at its status and its logs where it was deployed";
    }
}

waker::parts::endpoint waker::parts::find(std::uint64_t place) const
{
    const std::lock_guard lock(guard);
    const auto found = endpoints.find(place);
    return found == endpoints.end() ? endpoint{} : found->second;
}

// ---- on the thread ----

void waker::parts::step_all()
{
    if (thread.ending()) {
        return;
    }
    for (auto at = jobs.begin(); at != jobs.end();) {
        at = step(at->first, at->second) ? std::next(at) : jobs.erase(at);
    }
}

void waker::parts::tell(const job& it, waking::end why)
{
    using telemetry::level;
    const auto now = net::clock::now();
    known.sleeps_no_more(*it.at.to, why, now);
    const auto took = std::chrono::duration_cast<milliseconds>(now - it.began);
    const std::string problem(advice(why));
    std::vector<telemetry::log_field> fields{
        {"upstream", it.at.to->name},
        {"result", std::string(waking::to_string(why))},
        {"ms", std::to_string(took.count())}
    };
    if (!it.last.empty()) {
        fields.emplace_back("last", it.last);
    }
    if (!problem.empty()) {
        fields.emplace_back("problem", problem);
    }
    telemetry::log(
        problem.empty() ? level::info : level::warning,
        why == waking::end::ready ? "an endpoint is awake" : "an endpoint is no longer woken",
        fields
    );
}

bool waker::parts::step(std::uint64_t place, job& it)
{
    if (it.stale) {
        return true; // until its waking request is over
    }
    if (endpoint now = find(place); now.to != nullptr) {
        it.at = std::move(now);
    }
    const waking::step now = known.bridge.next(place, net::clock::now());
    if (now.stop) {
        tell(it, *now.stop);
    }
    if (!now.working) {
        if (it.running == nullptr) {
            return false;
        }
        it.stale = true;
        it.running->fire(code::stopping);
        return true;
    }
    if (now.ask) {
        std::vector<const config::token*> tokens;
        std::ranges::copy_if(it.at.to->tokens, std::back_inserter(tokens), [](const config::token* each) {
            return !each->value.empty();
        });
        const config::token* with = tokens.empty() ? nullptr : tokens[now.token % tokens.size()];
        thread.spawn(ask(place, it.at, with, *now.ask), [this, place](const std::exception_ptr& bug) {
            if (bug) { // no memory
                known.bridge.heard_of(place, waking::heard::silent, {}, net::clock::now());
            }
            thread.post([this] { step_all(); });
        });
    }
    return true;
}

net::task<void> waker::parts::ask(std::uint64_t place, endpoint at, const config::token* with, seconds hold)
{
    upstream::background::stoppable stop(thread);
    // Leaves the job with this coroutine, however it ends.
    struct seat
    {
        std::unordered_map<std::uint64_t, job>& all;
        std::uint64_t place;
        bool stale = false;
        void leave()
        {
            if (const auto mine = all.find(place); mine != all.end()) {
                mine->second.running = nullptr;
                stale = std::exchange(mine->second.stale, false);
            }
        }
        ~seat() { leave(); }
    } mine{jobs, place};
    jobs.at(place).running = &stop;

    answer got = co_await exchange_with(std::move(at), with, hold, stop);
    mine.leave();
    if (mine.stale || thread.ending()) {
        co_return;
    }
    jobs.at(place).last = std::move(got.why);
    known.bridge.heard_of(place, got.what, got.wait, net::clock::now());
}

// One GET of the health route, its answer whole and bounded.
net::task<waker::parts::answer>
waker::parts::exchange_with(endpoint at, const config::token* with, seconds hold, net::interrupt& stop)
{
    const config::upstream& to = *at.to;
    const upstream::peer& peer = at.from->peers.at(at.to);
    std::string head = "GET " + to.at.base_path + to.health + " HTTP/1.1\r\nhost: " + peer.host_header +
                       "\r\nuser-agent: fourways/" + version +
                       "\r\naccept: */*\r\naccept-encoding: identity\r\nx-scale-up-timeout: " +
                       std::to_string(hold.count()) + "\r\n";
    if (with != nullptr) {
        head.append(peer.token_field()).append(with->value.reveal()).append("\r\n");
    }
    head += "\r\n";

    auto lease = co_await thread.connections.borrow(peer, net::clock::now() + to.timeout.connect, stop);
    if (!lease) {
        co_return answer{.why = lease.error().text};
    }
    upstream::exchange_limits bounds;
    bounds.first_byte = hold + slack;
    bounds.idle = body_idle;
    bounds.head.max_bytes = at.from->policy->limits.response_header_bytes;
    bounds.head.max_fields = at.from->policy->limits.response_header_fields;
    bounds.most_interim = at.from->policy->limits.response_interim;
    upstream::exchange talk(std::move(*lease), stop, bounds);

    answer made;
    std::string type;
    std::string text;
    adapters::facts seen{.kind = to.kind, .engine = to.engine};
    auto sent = co_await talk.send(std::move(head), {}, {});
    if (!sent) {
        made.why = sent.error().text;
    } else {
        auto answered = co_await talk.head();
        if (!answered) {
            const bool held = answered.error().what == code::timeout; // the hold passed in silence
            made.what = held ? waking::heard::not_yet : waking::heard::silent;
            made.why = answered.error().text;
        } else {
            const wire::response_head& is = **answered; // its views go with what is read behind it
            seen.status = is.status;
            type = is.content_type;
            if (is.status == 429) {
                const auto told = wire::retry_after(is.retry_after, std::chrono::system_clock::now());
                made.wait = std::min<milliseconds>(told.value_or(milliseconds::zero()), longest_pause);
            }
        }
    }
    while (seen.status != 0 && text.size() < most_body) {
        auto bytes = co_await talk.next();
        if (!bytes || bytes->empty()) {
            break; // what it is stands in the head: a broken body changes nothing
        }
        text.append(*bytes);
    }
    co_await talk.close();
    if (seen.status == 0) {
        co_return made;
    }

    seen.content_type = type;
    seen.body = text;
    bool paused = false;
    if (seen.status == 400) {
        const verdict is = adapters::classify(seen); // of all 400s this one alone is the whole upstream's
        paused = is.what == outcome::unavailable && is.where == scope::upstream;
    }
    made.what = waking::hear(seen.status, paused);
    made.why = "it answered " + std::to_string(seen.status);
    co_return made;
}

} // namespace gw::dispatch
