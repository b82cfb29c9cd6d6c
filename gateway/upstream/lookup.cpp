#include "upstream/lookup.hpp"

#include "hub/memory.hpp"
#include "net/deadline.hpp"
#include "net/event.hpp"
#include "upstream/background.hpp"
#include "upstream/hub_client.hpp"

#include <deque>
#include <mutex>
#include <unordered_map>
#include <vector>

namespace gw::upstream {
namespace {

constexpr auto longest_wait = std::chrono::seconds(5);    // of a request
constexpr auto longest_lookup = std::chrono::seconds(15); // goes on behind it, for those that come later
constexpr std::size_t most_at_once = 8;

// What a look-up hands back to the coroutine that waits for it. Shared, since either may go first.
struct ticket
{
    explicit ticket(net::loop& of) : on(of), done(of) {}
    net::loop& on;
    net::event done;
    std::shared_ptr<const hub_answer> got;
};

std::shared_ptr<const hub_answer> gone(std::string_view why)
{
    return std::make_shared<const hub_answer>(hub::away(why));
}

} // namespace

struct lookup::parts
{
    parts(net::resolver& names, std::string_view version) : thread(names), client(thread.connections, version)
    {
    }

    void look_up(std::string model);
    void next();
    net::task<void> run(std::string model, std::shared_ptr<const hub_place> where);
    void tell(const std::string& model, hub::judgement made);

    // The thread's own.
    background thread;
    hub_client client;
    std::deque<std::string> queue;

    mutable std::mutex guard; // of all below
    hub::memory known;
    std::shared_ptr<const hub_place> place; // null: no hub
    std::string identity;                   // of the place and its token
    std::unordered_map<std::string, std::vector<std::shared_ptr<ticket>>> waiting;
    counts told;
};

lookup::lookup(net::resolver& names, std::string version) : parts_(std::make_shared<parts>(names, version)) {}

lookup::~lookup()
{
    if (parts_->thread.started()) {
        parts_->thread.stop();
    }
}

result<void> lookup::use(const config::hub& hub)
{
    if (!hub.on) {
        const std::lock_guard lock(parts_->guard);
        parts_->place = nullptr;
        return {};
    }
    auto place = place_of(hub);
    if (!place) {
        return fail(place);
    }
    const bool token = hub.with != nullptr && !hub.with->value.empty();
    std::string identity =
        hub.at.origin + hub.at.base_path + (token ? '#' + std::to_string(hub.with->hash) : "");

    const std::lock_guard lock(parts_->guard);
    parts_->place = std::move(*place);
    hub::memory_limits limits;
    limits.fresh = hub.cache;
    parts_->known.set(limits);
    if (identity != parts_->identity) {
        parts_->known.forget();
        parts_->identity = std::move(identity);
    }
    if (!parts_->thread.started()) {
        parts_->thread.start();
    }
    return {};
}

net::task<std::shared_ptr<const hub_answer>>
lookup::ask(net::loop& on, std::string model, net::interrupt& stop)
{
    using advice = hub::memory::advice;
    const auto mine = std::make_shared<ticket>(on);
    {
        const std::lock_guard lock(parts_->guard);
        if (!parts_->place) {
            co_return gone("the policy has no `hub:`");
        }
        auto found = parts_->known.look(model, net::clock::now());
        if (found.what == advice::ask || found.what == advice::refresh) {
            ++parts_->told.asked;
            parts_->thread.post([its = parts_.get(), model] { its->look_up(model); });
        }
        if (found.is && found.what != advice::away) {
            ++parts_->told.served;
            co_return std::move(found.is);
        }
        if (found.what == advice::away) {
            ++parts_->told.away;
            co_return found.is ? std::move(found.is) : gone("it did not answer lately");
        }
        ++parts_->told.waited;
        parts_->waiting[model].push_back(mine);
    }

    net::deadline limit(on.deadlines, mine.get(), [](void* waits) {
        static_cast<ticket*>(waits)->done.set();
    });
    limit.arm(net::clock::now() + longest_wait);
    const net::interrupt::scope ends(stop, [&mine] { mine->done.set(); });
    co_await mine->done.wait();
    if (!mine->got) { // the look-up may go on for long, and many may come and go meanwhile
        const std::lock_guard lock(parts_->guard);
        if (const auto of = parts_->waiting.find(model); of != parts_->waiting.end()) {
            std::erase(of->second, mine);
        }
        co_return gone("it did not answer in time");
    }
    co_return mine->got;
}

lookup::counts lookup::now() const
{
    const std::lock_guard lock(parts_->guard);
    counts made = parts_->told;
    made.known = parts_->known.size();
    return made;
}

// ---- on the thread ----

void lookup::parts::look_up(std::string model)
{
    queue.push_back(std::move(model));
    next();
}

void lookup::parts::next()
{
    while (!thread.ending() && thread.working() < most_at_once && !queue.empty()) {
        const std::string model = std::move(queue.front());
        queue.pop_front();
        std::shared_ptr<const hub_place> where;
        {
            const std::lock_guard lock(guard);
            where = place;
        }
        if (!where) {
            tell(model, {.is = hub::away("the policy has no `hub:` any more"), .renamed = {}, .rest = {}});
            continue;
        }
        thread.spawn(run(model, std::move(where)), [this, model](const std::exception_ptr& bug) {
            if (bug) { // no memory: those who wait are told all the same
                tell(
                    model, {.is = hub::away("there was no memory for its answer"), .renamed = {}, .rest = {}}
                );
            }
            thread.post([this] { next(); });
        });
    }
}

net::task<void> lookup::parts::run(std::string model, std::shared_ptr<const hub_place> where)
{
    background::stoppable stop(thread);
    net::deadline limit(thread.loop.deadlines, &stop, [](void* its) {
        static_cast<net::interrupt*>(its)->fire(code::timeout);
    });
    limit.arm(net::clock::now() + longest_lookup);

    hub::judgement made = co_await client.model(*where, model, stop);
    tell(model, std::move(made));
}

void lookup::parts::tell(const std::string& model, hub::judgement made)
{
    std::vector<std::shared_ptr<ticket>> all;
    std::shared_ptr<const hub_answer> is;
    {
        const std::lock_guard lock(guard);
        is = known.put(model, std::move(made.is), made.rest, net::clock::now(), made.only_this);
        if (const auto found = waiting.find(model); found != waiting.end()) {
            all = std::move(found->second);
            waiting.erase(found);
        }
    }
    for (auto& each : all) {
        net::loop& on = each->on;
        on.post([it = std::move(each), is] {
            it->got = is;
            it->done.set();
        });
    }
}

} // namespace gw::upstream
