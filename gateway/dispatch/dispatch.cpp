#include "dispatch/dispatch.hpp"

#include "dispatch/classify_transport.hpp"
#include "dispatch/waker.hpp"
#include "payload/tasks.hpp"
#include "telemetry/log.hpp"
#include "wire/field.hpp"

#include <algorithm>
#include <utility>

namespace gw::dispatch {
namespace {

template <class... F>
struct overloaded : F...
{
    using F::operator()...;
};

// A worker that says so is broken, whatever it was asked.
bool is_garbage(code what)
{
    return what == code::bad_framing || what == code::bad_chunk || what == code::bad_version ||
           what == code::header_too_large;
}

} // namespace

dispatched::dispatched(
    core& here,
    std::shared_ptr<const snapshot> now,
    const request& asked,
    const policy::plan& plan,
    body_access& body,
    net::interrupt& stop,
    net::deadline& limit
)
    : here_(here), now_(std::move(now)), asked_(asked), plan_(plan), body_(body), stop_(stop), limit_(limit),
      machine_(plan, here.all.known, {.body_whole = body.whole(), .random = here.random(), .waker = [this] {
                                          return wake_from_afar();
                                      }})
{
}

dispatched::~dispatched() = default;

net::event& dispatched::wake()
{
    if (!wake_) {
        wake_ = std::make_shared<net::event>(here_.loop);
    }
    return *wake_;
}

// For any thread, and for when this request may be gone.
std::function<void()> dispatched::wake_from_afar()
{
    (void)wake();
    return [woken = std::weak_ptr(wake_), &loop = here_.loop] {
        loop.post([woken] {
            if (const auto mine = woken.lock()) {
                mine->set();
            }
        });
    };
}

net::task<result<void>> dispatched::begin(net::time_point deadline)
{
    machine_.set_deadline(deadline);
    while (true) {
        if (here_.all.cut.load(std::memory_order_relaxed)) { // another core may be told before this one
            stop_.fire(code::stopping);
        }
        if (stop_.fired()) {
            if (abandoned()) {
                co_return abandon(net::clock::now());
            }
            machine_.out_of_time(net::clock::now()); // also while nothing is in progress
        }
        if (!body_.replayable()) {
            machine_.body_dropped();
        }
        const attempts::next_step step = machine_.next(net::clock::now());

        if (const auto* last = std::get_if<attempts::give_up>(&step)) {
            co_return std::unexpected(last->last);
        }
        if (const auto* wait = std::get_if<attempts::wait_for>(&step)) {
            if (wait->body && !body_.whole()) {
                auto whole = co_await body_.wait_whole();
                if (!whole) {
                    leave(net::clock::now());
                    co_return fail(whole);
                }
                machine_.body_arrived();
                continue;
            }
            co_await pause(wait->until);
            continue;
        }

        const auto& chosen = std::get<attempts::try_it>(step);
        std::optional<verdict> bad = co_await attempt(chosen);
        const auto now = net::clock::now();
        if (!bad) {
            if (mode_ == mode::none) {
                continue; // the candidate was skipped
            }
            machine_.content(status_, now);
            limit_.disarm();
            if (const auto total = target_.to->timeout.total) {
                limit_.arm(began_ + *total);
            }
            begun_ = true;
            if (!machine_.another_candidate_left()) {
                body_.drop_copy();
            }
            co_return result<void>{};
        }
        co_await end_exchange();
        count_bytes();
        mode_ = mode::none;
        if (client_fault_) {
            leave(now);
            co_return std::unexpected(*client_fault_);
        }
        if (stop_.fired()) {
            continue;
        }
        if (leaks(*bad)) {
            bad = leaked();
        }
        if (here_.all.bridge != nullptr) {
            here_.all.bridge->meets(*target_.to, *bad);
        }
        telemetry::log(
            telemetry::level::debug,
            "attempt failed",
            {{"request_id", asked_.request_id},
             {"upstream", target_.to->name},
             {"outcome", std::string(to_string(bad->what))},
             {"why", bad->text},
             {"detail", bad->detail}}
        );
        machine_.told(*bad, now, wall());
    }
}

// One candidate: its adapter, its worker, its conversation up to the first content. Nothing: the answer
// begins, or (with mode none) the candidate was skipped.
net::task<std::optional<verdict>> dispatched::attempt(const attempts::try_it& what)
{
    const policy::candidate& candidate = plan_.candidates[what.candidate];
    target_ = {
        .to = candidate.to,
        .with = what.with,
        .model = candidate.model,
        .provider = plan_.provider,
        .at_provider = candidate.at_provider,
        .task = plan_.task
    };
    const adapters::adapter& tongue = adapters::adapter_for(*candidate.to);
    secrets_ = now_->secrets.at(candidate.to).get();
    mode_ = mode::none;
    told_ = false;
    connected_ = false;
    status_ = 0;
    sent_ = received_ = 0;
    worker_.give_back(); // of an earlier candidate
    began_ = net::clock::now();

    // Can it be said in its way at all?
    const auto cannot = [&](failure why) {
        const reason because = why.what == code::forbidden ? reason::forbidden : reason::unsupported;
        machine_.skip(what.candidate, because, std::move(why));
    };
    // Everything but sized binary is sent after it is whole and checked.
    if (!body_.whole() && !tongue.can_stream(asked_, target_)) {
        auto encoding = tongue.plan(asked_, target_);
        if (!encoding) {
            cannot(std::move(encoding).error());
            co_return std::nullopt;
        }
        auto whole = co_await body_.wait_whole();
        if (!whole) {
            client_fault_ = std::move(whole).error();
            co_return misuse("the body is not whole");
        }
        machine_.body_arrived();
    }
    auto talk = tongue.open(asked_, target_);
    if (!talk) {
        cannot(std::move(talk).error());
        co_return std::nullopt;
    }

    if (candidate.to->run) {
        auto bad = co_await ready_worker();
        if (bad) {
            co_return bad;
        }
    }
    if (!machine_.another_candidate_left()) {
        body_.drop_copy();
    }

    talk_ = std::move(*talk);
    action_ = step(adapters::event::start{});
    auto done = co_await converse();
    co_return done;
}

adapters::action_type dispatched::step(const adapters::event_type& what)
{
    return talk_->step(what, net::clock::now(), wall());
}

net::task<std::optional<verdict>> dispatched::ready_worker()
{
    auto& workers = here_.all.workers;
    worker_ = workers.use(*target_.to, target_.model);
    if (!worker_) {
        // The start is shared by all who ask, and goes on when we move to the next candidate.
        const auto done = std::make_shared<net::event>(here_.loop);
        const auto got = std::make_shared<std::optional<result<workers::ready_worker>>>();
        workers.ensure(
            *target_.to,
            target_.model,
            [done,
             got,
             &loop = here_.loop,
             &known = here_.all.known,
             keep = now_,
             to = target_.to,
             model = std::string(target_.model)](result<workers::ready_worker> answer) {
                if (answer) {
                    known.warmed(*to, model);
                }
                loop.post([done, got, answer = std::move(answer), keep]() mutable {
                    *got = std::move(answer);
                    done->set();
                });
            }
        );
        if (machine_.another_candidate_left()) {
            co_return verdict{
                .what = outcome::warming,
                .where = scope::model_task,
                .connect_failed = true,
                .text = "the worker `" + target_.to->name + "` is starting"
            };
        }
        const net::interrupt::scope ends(stop_, [&done] { done->set(); });
        co_await done->wait();
        if (stop_.fired()) {
            co_return misuse("stopped");
        }
        if (!*got) {
            co_return misuse("a worker's start without an answer");
        }
        if (!**got) {
            const failure& why = (**got).error();
            verdict bad{
                .what = why.what == code::warming ? outcome::warming : outcome::unavailable,
                .where = scope::model_task
            };
            bad.connect_failed = true;
            bad.retry_after = why.retry_after;
            bad.text = why.text;
            bad.detail = why.detail;
            co_return bad;
        }
        worker_ = workers.use(*target_.to, target_.model);
        if (!worker_) {
            co_return verdict{
                .what = outcome::unavailable,
                .where = scope::model_task,
                .connect_failed = true,
                .text = "the worker `" + target_.to->name + "` ended right after it was ready"
            };
        }
    }
    worker_peer_ = now_->peers.at(target_.to);
    worker_peer_->host = "127.0.0.1";
    worker_peer_->port = worker_.where().port;
    worker_peer_->host_header = "127.0.0.1:" + std::to_string(worker_.where().port);
    worker_peer_->key +=
        ":" + std::to_string(worker_.where().port) + ":" + std::to_string(worker_.where().generation);
    co_return std::nullopt;
}

// Does what the conversation says until the first content is there, or a verdict.
net::task<std::optional<verdict>> dispatched::converse()
{
    while (true) {
        std::optional<verdict> bad;
        if (auto* send_it = std::get_if<adapters::action::send>(&action_)) {
            adapters::exchange_request what = std::move(send_it->what);
            bad = co_await send(what);
        } else if (const auto* read = std::get_if<adapters::action::read>(&action_)) {
            const auto how = read->how;
            const bool held = read->held;
            answer_ = read->answer;
            switch (how) {
            case adapters::action::read::as::text:
                bad = co_await read_text();
                break;
            case adapters::action::read::as::whole:
                bad = co_await read_whole(held);
                break;
            case adapters::action::read::as::raw:
                co_return co_await first_raw();
            case adapters::action::read::as::events:
                co_return co_await first_event();
            }
        } else if (auto* emit = std::get_if<adapters::action::emit>(&action_)) {
            answer_ = std::move(emit->head);
            answer_.length = emit->body.length();
            const upstream::source from{.memory = text_, .log = document_.get()};
            out_.emplace(here_.loop, std::move(emit->body), from, stop_);
            auto block = co_await out_->next();
            if (!block) {
                co_return verdict{
                    .what = outcome::unavailable,
                    .where = scope::model_task,
                    .status = status_,
                    .text = "the upstream's answer cannot be translated: " + block.error().text
                };
            }
            first_ = *block;
            first_given_ = false;
            mode_ = mode::plan;
            co_return std::nullopt;
        } else if (const auto* wait = std::get_if<adapters::action::wait>(&action_)) {
            const auto until = wait->until;
            co_await pause(until);
            if (stop_.fired()) {
                co_return misuse("stopped");
            }
            action_ = step(adapters::event::elapsed{});
        } else if (auto* failed = std::get_if<adapters::action::fail>(&action_)) {
            co_return std::move(failed->why);
        } else {
            co_return misuse("an action that does not fit here");
        }
        if (bad) {
            co_return bad;
        }
    }
}

// nullopt when some value would end its line: the one place where every head for an upstream passes.
std::optional<std::string> dispatched::request_text(const adapters::exchange_request& what) const
{
    const upstream::peer& peer = worker_peer_ && target_.to->run ? *worker_peer_ : now_->peers.at(target_.to);
    std::string text;
    text.reserve(500);
    bool clean = std::ranges::all_of(what.path, [](char c) { return c > 0x20 && c < 0x7f; });
    const auto line = [&](std::string_view name, std::string_view value) {
        clean = clean && wire::valid_value(value);
        text += name;
        text += value;
        text += "\r\n";
    };
    text += what.method;
    text += ' ';
    text += what.path;
    line(" HTTP/1.1\r\nhost: ", peer.host_header);
    text.append("user-agent: fourways/").append(here_.all.version);
    line(
        "\r\naccept-encoding: identity\r\naccept: ",
        what.accept.empty() ? "*/*" : std::string_view(what.accept)
    );
    if (target_.with != nullptr && !target_.with->value.empty()) {
        line(peer.token_field(), target_.with->value.reveal());
    }
    for (const auto& [name, value] : asked_.forwarded) {
        text += name;
        line(": ", value);
    }
    line("x-request-id: ", asked_.request_id);
    text += what.fields;
    if (!what.content_type.empty()) {
        line("content-type: ", what.content_type);
    }
    if (what.method != "GET" && what.method != "HEAD") {
        text.append("content-length: ").append(std::to_string(what.body.length())).append("\r\n");
    }
    text += "\r\n";
    return clean ? std::optional(std::move(text)) : std::nullopt;
}

net::task<std::optional<verdict>> dispatched::send(adapters::exchange_request& what)
{
    if (exchange_) {
        co_await end_exchange();
    }
    search_.emplace(*secrets_);
    const upstream::peer& peer = target_.to->run ? *worker_peer_ : now_->peers.at(target_.to);
    const auto& limits = target_.to->timeout;
    std::optional<std::string> head = request_text(what);
    if (!head) {
        co_return misuse("a head with a line break or another control byte in it");
    }

    co_await here_.loop.turn();
    if (stop_.fired()) {
        co_return misuse("stopped");
    }
    result<upstream::lease> lease = here_.pool.borrow_idle(peer);
    if (!*lease) {
        lease = co_await here_.pool.borrow(peer, net::clock::now() + limits.connect, stop_);
    }
    if (!lease) {
        co_return lost(lease.error());
    }
    connected_ = true;
    if (!machine_.sending(net::clock::now())) {
        lease->keep();
        co_return misuse("too late for the probe");
    }

    upstream::exchange_limits bounds;
    bounds.idle = limits.idle;
    bounds.first_byte = limits.first_byte;
    if (what.expects_stream && !bounds.first_byte) {
        bounds.first_byte = limits.first_byte_stream;
    }
    bounds.head.max_bytes = now_->policy->limits.response_header_bytes;
    bounds.head.max_fields = now_->policy->limits.response_header_fields;
    bounds.most_interim = now_->policy->limits.response_interim;
    unended_.reset();
    failed_event_.reset();
    exchange_ = std::make_unique<upstream::exchange>(std::move(*lease), stop_, bounds);
    auto sent = co_await exchange_->send(std::move(*head), std::move(what.body), body_.from());
    if (!sent) {
        co_return lost(sent.error());
    }
    auto answered = co_await exchange_->head();
    if (!answered) {
        co_return lost(answered.error());
    }
    const wire::response_head& is = **answered;
    status_ = is.status;
    for (const auto& each : is.fields) {
        if (leaks(each.value) || leaks(each.name)) {
            co_return leaked();
        }
    }
    action_ = step(adapters::event::head{is});
    co_return std::nullopt;
}

void dispatched::leave(net::time_point now)
{
    const bool stopping = stop_.fired() && stop_.why() == code::stopping;
    machine_.left(now, stopping ? reason::stopping : reason::client_gone);
}

std::unexpected<failure> dispatched::abandon(net::time_point now)
{
    leave(now);
    const code why = stop_.why();
    return std::unexpected(
        failure{.what = why, .from = why == code::client_gone ? origin::client : origin::gateway}
    );
}

void dispatched::count_bytes()
{
    if (auto* entry = machine_.current()) {
        entry->bytes_out = sent_ + (exchange_ ? exchange_->bytes_sent() : 0);
        entry->bytes_in = received_ + (exchange_ ? exchange_->bytes_received() : 0);
    }
}

net::task<void> dispatched::end_exchange()
{
    if (!exchange_) {
        return net::task<>::done();
    }
    sent_ += exchange_->bytes_sent();
    received_ += exchange_->bytes_received();
    if (exchange_->uploading()) {
        return end_upload();
    }
    auto closed = exchange_->close();
    exchange_.reset();
    return closed;
}

net::task<void> dispatched::end_upload()
{
    co_await exchange_->close();
    exchange_.reset();
}

net::task<void> dispatched::finish()
{
    return end_exchange();
}

void dispatched::fill(telemetry::access_record& record)
{
    const auto now = net::clock::now();
    out_.reset();
    count_bytes();
    if (begun_ && !told_) {
        if (abandoned()) {
            leave(now);
        } else {
            verdict good = talk_->accepted(); // it may carry a cooldown: RateLimit with nothing left
            good.status = status_;
            machine_.told(good, now, wall());
        }
    }
    if (talk_) {
        record.used = talk_->used();
    }
    worker_.give_back();

    for (const auto& each : machine_.story()) {
        telemetry::attempt_record line;
        line.upstream = each.to->name;
        if (each.with != nullptr) {
            line.token = each.with->name;
        }
        line.status = each.status;
        line.outcome = each.what ? to_string(*each.what) : each.skipped ? to_string(*each.skipped) : "";
        line.bytes_sent = each.bytes_out;
        line.bytes_received = each.bytes_in;
        line.ms = std::chrono::duration<double, std::milli>(each.took).count();
        if (each.what) {
            here_.metrics.count_attempt(
                line.upstream,
                plan_.entry->name,
                line.outcome,
                line.ms / 1000,
                line.bytes_sent,
                line.bytes_received
            );
        }
        record.route.push_back(std::move(line));
    }
}

net::task<void> dispatched::pause(net::time_point until)
{
    net::event& woken = wake();
    net::deadline over(here_.loop.deadlines, &woken, [](void* self) {
        static_cast<net::event*>(self)->set();
    });
    over.arm(until);
    const net::interrupt::scope ends(stop_, [&woken] { woken.set(); });
    co_await woken.wait();
}

verdict dispatched::lost(const failure& what)
{
    if (what.again == retry::if_reused) { // a POST is not repeated, so it was worth avoiding
        ++here_.metrics.stale_connections;
    }
    if (what.from == origin::client) {
        client_fault_ = what;
    } else if (worker_ && !abandoned()) {
        if (is_garbage(what.what)) {
            replace_worker("answers what is no HTTP: " + what.text);
        } else {
            // Refused, reset, or out of time (the request's deadline too): the supervisor looks whether it
            // lives.
            here_.all.workers.lost(*target_.to, target_.model, worker_.where().generation);
        }
    }
    verdict made = classify_transport(what, connected_, exchange_ && exchange_->wrote_any());
    if (made.status == 0) {
        made.status = status_;
    }
    return made;
}

void dispatched::replace_worker(std::string why)
{
    here_.all.workers.replace(*target_.to, target_.model, worker_.where().generation, std::move(why));
}

} // namespace gw::dispatch
