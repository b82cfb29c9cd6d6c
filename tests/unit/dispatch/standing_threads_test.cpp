// Standing under many threads: run it with ThreadSanitizer. Each thread is a core with its own clock that
// moves by itself.
#include "world.hpp"

#include <gtest/gtest.h>

#include <atomic>
#include <random>
#include <thread>

namespace gw::dispatch::testing {
namespace {

constexpr int cores = 4;

template <class Work>
void on_all_cores(Work work)
{
    std::vector<std::thread> threads;
    std::atomic<int> ready{0};
    threads.reserve(cores);
    for (int core = 0; core < cores; ++core) {
        threads.emplace_back([&, core] {
            ready.fetch_add(1);
            while (ready.load() < cores) {
                std::this_thread::yield();
            }
            work(core);
        });
    }
    for (std::thread& one : threads) {
        one.join();
    }
}

TEST(standing_threads, one_probe_over_all_cores)
{
    world w;
    config::upstream& vit = w.dedicated("vit");
    const subject who{.to = &vit, .model = "m"};
    for (int round = 0; round < 300; ++round) {
        w.state.cooling.learn(who, {.what = limited(2s), .sent = w.now}, true, w.now, w.wall);
        w.pass(2s);
        std::atomic<int> probes{0};
        std::atomic<int> blocked{0};
        std::atomic<probe_id> winner{0};
        on_all_cores([&](int) {
            const admission in = w.state.cooling.claim(who, true, w.now);
            if (in.probe != 0) {
                probes.fetch_add(1);
                winner.store(in.probe);
            }
            blocked.fetch_add(in.blocked ? 1 : 0);
        });
        ASSERT_EQ(probes.load(), 1);
        ASSERT_EQ(blocked.load(), cores - 1);
        ASSERT_TRUE(w.state.cooling.confirm(who, winner.load(), w.now));
        w.state.cooling.learn(
            who, {.what = ok(), .sent = w.now, .probe = winner.load()}, true, w.now, w.wall
        );
    }
}

TEST(standing_threads, never_more_in_flight_than_the_limit_and_nobody_is_forgotten)
{
    world w;
    config::upstream& llm = w.dedicated("llm");
    llm.max_in_flight = 2;
    llm.max_waiting = 1000;
    std::atomic<int> inside{0};
    std::atomic<int> served{0};
    constexpr int each = 2000;

    on_all_cores([&](int core) {
        std::mt19937 any(static_cast<unsigned>(core) + 1);
        for (int i = 0; i < each; ++i) {
            slots::lease mine = w.state.room.acquire(llm, "m");
            if (!mine) {
                const auto woken = std::make_shared<std::atomic<bool>>(false);
                slots::ticket ticket = w.state.room.wait_for_slot(llm, "m", [woken] { woken->store(true); });
                ASSERT_TRUE(ticket);
                if (any() % 8 == 0) {
                    ticket.leave(); // its client left, perhaps with the slot already in its hands
                    served.fetch_add(1);
                    continue;
                }
                while (!(mine = ticket.take())) {
                    std::this_thread::yield();
                }
            }
            ASSERT_LE(inside.fetch_add(1) + 1, 2);
            inside.fetch_sub(1);
            served.fetch_add(1);
        }
    });
    EXPECT_EQ(served.load(), cores * each);
    EXPECT_EQ(w.state.places().at(0).in_flight, 0U);
    EXPECT_EQ(w.state.counters().waiting, 0U);
}

TEST(standing_threads, places_are_made_and_used_anew_while_others_use_theirs)
{
    slots room;
    on_all_cores([&](int core) {
        std::mt19937 any(static_cast<unsigned>(core) + 99);
        std::vector<slots::lease> held;
        for (int i = 0; i < 6000; ++i) {
            config::upstream one;
            one.id = any() % 6000 + 1;
            one.name = "u";
            held.push_back(room.acquire(one, "m"));
            ASSERT_TRUE(held.back());
            if (held.size() > 20) {
                held.erase(held.begin() + static_cast<long>(any() % held.size()));
            }
        }
    });
    for (const slots_view& one : room.view()) {
        ASSERT_EQ(one.in_flight, 0U);
    }
}

// Whole requests on all cores at once, with everything that standing keeps in play.
TEST(standing_threads, whole_requests)
{
    world w;
    config::token& a = w.token("a", "hf_a");
    config::token& b = w.token("b", "hf_b");
    config::upstream& router = w.upstream("router", config::kind::serverless, {&a, &b});
    config::upstream& vit = w.dedicated("vit");
    config::upstream& llm = w.dedicated("llm");
    llm.max_in_flight = 2;
    llm.max_waiting = 3;
    policy::plan& plan = w.route({&router, &vit, &llm});
    w.fallback_of(plan).on.insert(outcome::timeout);
    std::atomic<int> answered{0};
    std::atomic<int> given_up{0};

    on_all_cores([&](int core) {
        std::mt19937 any(static_cast<unsigned>(core) * 7 + 3);
        time_point now = w.now;
        for (int i = 0; i < 1500; ++i) {
            const auto woken = std::make_shared<std::atomic<bool>>(false);
            const auto waker = [woken] { return [woken] { woken->store(true); }; };
            attempts one(plan, w.state, {.deadline = now + 20s, .random = any(), .waker = waker});
            while (true) {
                now += milliseconds(any() % 30);
                const attempts::next_step step = one.next(now);
                if (std::holds_alternative<attempts::give_up>(step)) {
                    given_up.fetch_add(1);
                    break;
                }
                if (const auto* wait = std::get_if<attempts::wait_for>(&step)) {
                    ASSERT_GT(wait->until, now);
                    now = woken->exchange(false) ? now + 1ms : std::min(wait->until, now + 500ms);
                    std::this_thread::yield();
                    continue;
                }
                if (any() % 40 == 0) {
                    one.left(now);
                    break;
                }
                if (any() % 10 == 0) {
                    one.told(refused(), now, w.wall);
                    continue;
                }
                if (!one.sending(now)) {
                    continue;
                }
                now += milliseconds(any() % 50);
                const verdict kinds[] = {
                    ok(),
                    ok(),
                    ok(),
                    ok(),
                    ok(),
                    ok(),
                    limited(1s),
                    limited(),
                    no_credits(),
                    broken(503),
                    broken(500),
                    reset(),
                    slow(),
                    warming(),
                    too_large()
                };
                const verdict& is = kinds[any() % std::size(kinds)];
                if (is.what == outcome::ok && any() % 2 == 0) {
                    one.content(200, now);
                }
                one.told(is, now, w.wall);
                if (is.what == outcome::ok) {
                    answered.fetch_add(1);
                    break;
                }
            }
            if (any() % 64 == 0) {
                (void)w.state.resting(now);
                (void)w.state.places();
                (void)w.state.counters();
                w.state.warmed(vit, "org/model");
            }
        }
    });
    EXPECT_GT(answered.load(), 100);
    const standing_counters end = w.state.counters();
    EXPECT_EQ(end.active_requests, 0);
    EXPECT_EQ(end.active_retries, 0);
    EXPECT_EQ(end.waiting, 0U);
    for (const slots_view& one : w.state.places()) {
        EXPECT_EQ(one.in_flight, 0U) << one.upstream;
    }
}

} // namespace
} // namespace gw::dispatch::testing
