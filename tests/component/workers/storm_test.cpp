// Everything at once, from many threads. What must hold: whoever has a lease has a worker that answers.
#include "support.hpp"

#include <gmock/gmock.h>

#include <unistd.h>

#include <atomic>
#include <cstdlib>
#include <filesystem>
#include <iterator>
#include <memory>
#include <thread>

namespace gw::workers {
namespace {

using namespace std::chrono_literals;

class storm : public process_test
{
};

std::unique_ptr<config::settings> policy_of(const config::upstream* to)
{
    auto made = std::make_unique<config::settings>();
    if (to != nullptr) {
        made->upstreams.push_back(std::make_unique<config::upstream>(*to));
        auto entry = std::make_unique<config::model_entry>();
        entry->name = "org/m";
        entry->route.push_back({.to = made->upstreams.back().get()});
        made->models.push_back(std::move(entry));
    }
    return made;
}

TEST_F(storm, a_lease_is_a_worker_that_answers)
{
    config::upstream to = scripted(mark);
    to.run->idle_stop = 1ms; // stops whenever it can
    constexpr std::uint64_t starts = 8;
    std::atomic<bool> over{false};
    std::atomic<int> answered{0};
    std::atomic<int> let_down{0};

    std::vector<std::thread> crowd;
    for (int number = 0; number < 4; ++number) {
        crowd.emplace_back([&] {
            while (!over) {
                lease held = workers.use(to, "org/m");
                if (!held) {
                    (void)ensured(workers, to); // may be refused while no policy names it
                    continue;
                }
                const bool good = get(held.where().port, "/health").has_value();
                if (!good) {
                    log.writer()(
                        severity::error, "LET DOWN generation " + std::to_string(held.where().generation), {}
                    );
                }
                ++(good ? answered : let_down);
                lease moved = std::move(held);
                moved.give_back();
                (void)eventually([&] { return over || !workers.ready(to, "org/m"); });
            }
        });
    }
    crowd.emplace_back([&] {
        // A reload for each answer: more would only make a queue.
        for (int round = 0; !over; ++round) {
            const int before = answered;
            workers.keep(*policy_of(nullptr));
            workers.keep(*policy_of(&to));
            workers.lost(to, "org/m", static_cast<std::uint64_t>(round));
            (void)workers.snapshot();
            (void)eventually([&] { return over || answered != before; });
        }
    });
    EXPECT_TRUE(eventually([&] {
        const auto lines = marked(mark, "start");
        return lines.size() >= starts && answered >= 20;
    })) << answered;
    over = true;
    for (std::thread& each : crowd) {
        each.join();
    }
    EXPECT_EQ(let_down, 0) << log.story();
    workers.stop();
    for (const std::string& each : marked(mark, "start")) {
        EXPECT_TRUE(is_gone(std::stoi(each)));
    }
}

TEST_F(storm, starts_leave_no_descriptor_and_no_zombie)
{
    const auto open_descriptors = [] {
        return std::distance(
            std::filesystem::directory_iterator("/proc/self/fd"), std::filesystem::directory_iterator()
        );
    };
    std::ptrdiff_t before = 0;
    for (int round = 0; round < 20; ++round) {
        config::upstream quick = scripted(mark, {}, "quick " + std::to_string(round));
        quick.run->command = {"/bin/true"};
        EXPECT_FALSE(ensured(workers, quick));
        before = round == 0 ? open_descriptors() : before;
    }
    EXPECT_EQ(open_descriptors(), before);
    for (const auto& each : std::filesystem::directory_iterator("/proc")) {
        const pid_t pid = std::atoi(each.path().filename().c_str());
        EXPECT_FALSE(pid > 0 && parent_of(pid) == ::getpid() && is_gone(pid))
            << pid << " is a zombie of ours";
    }
}

} // namespace
} // namespace gw::workers
