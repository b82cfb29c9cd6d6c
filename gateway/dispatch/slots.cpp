#include "dispatch/slots.hpp"

#include "dispatch/cooldowns.hpp"

#include <algorithm>
#include <functional>
#include <utility>

namespace gw::dispatch {

struct slots::waiter
{
    enum class state : std::uint8_t { queued, listening, granted, woken };

    state is = state::queued;
    std::string model; // its seat counts against this model's max_waiting
    wake_function wake;
};

// A place may be used anew under another key once nobody holds anything of it; its memory stays, so a pointer
// that was read a moment ago can always be looked at. Whoever wants to keep one counts himself in first and
// then looks at the key again; whoever renames takes the key away first and then looks at the counts. So at
// least one of the two notices.
struct slots::place
{
    slots* owner = nullptr;
    std::atomic<std::uint64_t> key{0};
    std::atomic<place*> next{nullptr};
    std::atomic<std::uint32_t> configured{0}; // max_in_flight as the last request saw it; 0: none
    std::atomic<std::uint32_t> learned{0};    // 0: nothing
    std::atomic<std::uint32_t> queued{0};     // size of `queue`
    std::atomic<std::uint64_t> resting{0};    // what it rests together with

    // Written by every request, so apart from what every request reads.
    alignas(64) std::atomic<std::uint32_t> in_flight{0};

    // By the lock.
    alignas(64) std::mutex lock;
    std::list<waiter> queue;     // for a slot, first in first out
    std::list<waiter> listeners; // for news
    std::list<waiter> served;    // granted or woken, not yet come back
    std::map<std::string, std::size_t, std::less<>> waiting;
    std::uint32_t good = 0; // answers in the present round
    time_point refused_at = time_point::min();
    std::string upstream;
    std::string model;

    [[nodiscard]] std::uint32_t limit() const
    {
        const std::uint32_t a = configured.load(std::memory_order_relaxed);
        const std::uint32_t b = learned.load(std::memory_order_relaxed);
        return a == 0 || (b != 0 && b < a) ? b : a;
    }

    [[nodiscard]] bool unused() const
    {
        return in_flight.load() == 0 && queue.empty() && listeners.empty() && served.empty();
    }

    // Hands free slots to those who wait. REQUIRES lock; call the wakes after it.
    void grant(std::vector<wake_function>& wakes)
    {
        while (!queue.empty()) {
            const std::uint32_t most = limit();
            if (most != 0 && in_flight.load() >= most) {
                return;
            }
            in_flight.fetch_add(1);
            waiter& first = queue.front();
            first.is = waiter::state::granted;
            wakes.push_back(std::move(first.wake));
            rises(first.model);
            served.splice(served.end(), queue, queue.begin());
            queued.fetch_sub(1);
        }
    }

    void sits(const std::string& who)
    {
        ++waiting[who];
        owner->waiting_.fetch_add(1, std::memory_order_relaxed);
    }
    void rises(const std::string& who)
    {
        const auto found = waiting.find(who);
        if (found != waiting.end() && --found->second == 0) {
            waiting.erase(found);
        }
        owner->waiting_.fetch_sub(1, std::memory_order_relaxed);
    }

    void hand_over()
    {
        std::vector<wake_function> wakes;
        {
            const std::lock_guard hold(lock);
            grant(wakes);
        }
        wake_all(wakes);
    }

    static void wake_all(std::vector<wake_function>& wakes)
    {
        for (wake_function& wake : wakes) {
            if (wake) {
                wake();
            }
        }
    }

    // Pairs with wait_for_slot(), which queues first and then looks at in_flight: one of both sees the other.
    void release()
    {
        in_flight.fetch_sub(1);
        if (queued.load() != 0) {
            hand_over();
        }
    }
};

namespace {

std::uint64_t key_of(const config::upstream& to, std::string_view model)
{
    std::uint64_t key = to.id * 0x9e3779b97f4a7c15ULL;
    if (to.run) {
        key ^= std::hash<std::string_view>{}(model) * 0xbf58476d1ce4e5b9ULL;
    }
    key ^= key >> 32U;
    return key == 0 ? 1 : key;
}

} // namespace

slots::slots() = default;
slots::~slots() = default;

slots::place& slots::at(const config::upstream& to, std::string_view model)
{
    const std::uint64_t key = key_of(to, model);
    std::atomic<place*>& chain = chains_[key % chains_.size()];
    for (place* here = chain.load(); here != nullptr; here = here->next.load()) {
        if (here->key.load() == key) {
            return *here;
        }
    }

    // The first request there makes the place. Again, since another core may have done so meanwhile.
    const std::lock_guard hold(lock_);
    for (place* here = chain.load(); here != nullptr; here = here->next.load()) {
        if (here->key.load() == key) {
            return *here;
        }
    }
    const auto name = [&](place& made) {
        made.upstream = to.name;
        made.model = to.run ? std::string(model) : std::string();
        made.resting.store(place_of(to, model));
        made.configured.store(static_cast<std::uint32_t>(to.max_in_flight));
        made.learned.store(0);
        made.good = 0;
        made.key.store(key);
    };
    if (places_.size() >= nominal_places) {
        for (place* here = chain.load(); here != nullptr; here = here->next.load()) {
            const std::lock_guard hold_place(here->lock);
            const std::uint64_t old = here->key.exchange(0);
            if (here->unused()) {
                name(*here);
                return *here;
            }
            here->key.store(old);
        }
    }
    place& made = *places_.emplace_back(std::make_unique<place>());
    made.owner = this;
    name(made);
    made.next.store(chain.load());
    chain.store(&made);
    return made;
}

slots::lease slots::acquire(const config::upstream& to, std::string_view model)
{
    const std::uint64_t key = key_of(to, model);
    const auto configured = static_cast<std::uint32_t>(to.max_in_flight);
    while (true) {
        place& here = at(to, model);
        if (here.configured.load(std::memory_order_relaxed) != configured) {
            here.configured.store(configured, std::memory_order_relaxed); // a reload changed it
            if (here.queued.load() != 0) {
                here.hand_over();
            }
        }

        if (here.limit() == 0 && here.queued.load(std::memory_order_relaxed) == 0) {
            here.in_flight.fetch_add(1);
            if (here.key.load() == key) {
                return lease(&here);
            }
            here.release();
            continue;
        }

        const std::lock_guard hold(here.lock);
        if (here.key.load() != key) {
            continue;
        }
        const std::uint32_t most = here.limit();
        if (!here.queue.empty() || (most != 0 && here.in_flight.load() >= most)) {
            return {};
        }
        here.in_flight.fetch_add(1);
        return lease(&here);
    }
}

slots::ticket slots::wait_for_slot(const config::upstream& to, std::string_view model, wake_function wake)
{
    const std::uint64_t key = key_of(to, model);
    while (true) {
        place& here = at(to, model);
        std::vector<wake_function> wakes;
        ticket mine;
        {
            const std::lock_guard hold(here.lock);
            if (here.key.load() != key) {
                continue;
            }
            const auto sitting = here.waiting.find(model);
            if ((sitting == here.waiting.end() ? 0 : sitting->second) >= to.max_waiting) {
                return {};
            }
            const auto me = here.queue.insert(here.queue.end(), waiter{.model = std::string(model)});
            here.sits(me->model);
            here.queued.fetch_add(1);
            mine = ticket(&here, me);
            here.grant(wakes); // a slot may have become free before we sat down; then nobody needs to wake us
            if (me->is == waiter::state::queued) {
                me->wake = std::move(wake);
            }
        }
        place::wake_all(wakes);
        return mine;
    }
}

slots::ticket slots::wait_for_news(const config::upstream& to, std::string_view model, wake_function wake)
{
    const std::uint64_t key = key_of(to, model);
    while (true) {
        place& here = at(to, model);
        const std::lock_guard hold(here.lock);
        if (here.key.load() != key) {
            continue;
        }
        const auto sitting = here.waiting.find(model);
        if ((sitting == here.waiting.end() ? 0 : sitting->second) >= to.max_waiting) {
            return {};
        }
        const auto me = here.listeners.insert(
            here.listeners.end(),
            waiter{.is = waiter::state::listening, .model = std::string(model), .wake = std::move(wake)}
        );
        here.sits(me->model);
        listening_.fetch_add(1);
        return ticket(&here, me);
    }
}

void slots::news(const config::upstream& to, std::string_view model)
{
    if (listening_.load() == 0) {
        return;
    }
    const std::uint64_t resting = place_of(to, model);
    std::vector<wake_function> wakes;
    {
        const std::lock_guard hold(lock_);
        for (const std::unique_ptr<place>& here : places_) {
            if (here->resting.load() != resting) {
                continue;
            }
            const std::lock_guard hold_place(here->lock);
            for (waiter& one : here->listeners) {
                one.is = waiter::state::woken;
                wakes.push_back(std::move(one.wake));
                here->rises(one.model);
            }
            listening_.fetch_sub(here->listeners.size());
            here->served.splice(here->served.end(), here->listeners);
        }
    }
    place::wake_all(wakes);
}

std::vector<slots_view> slots::view() const
{
    std::vector<slots_view> all;
    const std::lock_guard hold(lock_);
    all.reserve(places_.size());
    for (const std::unique_ptr<place>& here : places_) {
        const std::lock_guard hold_place(here->lock);
        all.push_back({
            .upstream = here->upstream,
            .model = here->model,
            .in_flight = here->in_flight.load(),
            .limit = here->limit(),
            .learned = here->learned.load(),
            .waiting = here->queue.size() + here->listeners.size(),
        });
    }
    return all;
}

slots::lease::lease(lease&& other) noexcept : where_(std::exchange(other.where_, nullptr)) {}

slots::lease& slots::lease::operator=(lease&& other) noexcept
{
    if (this != &other) {
        release();
        where_ = std::exchange(other.where_, nullptr);
    }
    return *this;
}

void slots::lease::release()
{
    if (place* where = std::exchange(where_, nullptr)) {
        where->release();
    }
}

bool slots::lease::refused(time_point now)
{
    if (where_ == nullptr) {
        return false;
    }
    const std::lock_guard hold(where_->lock);
    const std::uint32_t others = where_->in_flight.load() - 1;
    if (others == 0) {
        return false;
    }
    const std::uint32_t before = where_->learned.load();
    where_->learned.store(before == 0 ? others : std::min(before, others));
    where_->good = 0;
    where_->refused_at = now;
    return true;
}

void slots::lease::succeeded(time_point now)
{
    if (where_ == nullptr || where_->learned.load(std::memory_order_relaxed) == 0) {
        return;
    }
    std::vector<wake_function> wakes;
    {
        const std::lock_guard hold(where_->lock);
        const std::uint32_t before = where_->learned.load();
        if (before != 0 && ++where_->good >= before) {
            where_->good = 0;
            where_->learned.store(now - where_->refused_at > forget_after ? 0 : before + 1);
            where_->grant(wakes);
        }
    }
    place::wake_all(wakes);
}

slots::ticket::ticket(ticket&& other) noexcept : where_(std::exchange(other.where_, nullptr)), me_(other.me_)
{
}

slots::ticket& slots::ticket::operator=(ticket&& other) noexcept
{
    if (this != &other) {
        leave();
        where_ = std::exchange(other.where_, nullptr);
        me_ = other.me_;
    }
    return *this;
}

slots::lease slots::ticket::take()
{
    if (where_ == nullptr) {
        return {};
    }
    std::list<waiter> mine; // goes outside of the lock, with what its callback holds
    const std::lock_guard hold(where_->lock);
    if (me_->is != waiter::state::granted) {
        return {};
    }
    mine.splice(mine.end(), where_->served, me_);
    return lease(std::exchange(where_, nullptr));
}

void slots::ticket::leave()
{
    place* where = std::exchange(where_, nullptr);
    if (where == nullptr) {
        return;
    }
    std::list<waiter> mine;
    bool granted = false;
    {
        const std::lock_guard hold(where->lock);
        switch (me_->is) {
        case waiter::state::queued:
            where->rises(me_->model);
            mine.splice(mine.end(), where->queue, me_);
            where->queued.fetch_sub(1);
            break;
        case waiter::state::listening:
            where->rises(me_->model);
            mine.splice(mine.end(), where->listeners, me_);
            where->owner->listening_.fetch_sub(1);
            break;
        case waiter::state::granted:
            granted = true;
            mine.splice(mine.end(), where->served, me_);
            break;
        case waiter::state::woken:
            mine.splice(mine.end(), where->served, me_);
            break;
        }
    }
    if (granted) {
        where->release();
    }
}

} // namespace gw::dispatch
