// Carries a request to its candidates until one gives first content, and then on to the end of the answer:
// the coroutine that does what `attempts` decides and what the adapter's conversation says. One per request,
// owned by ingress/serve.
#pragma once

#include "adapters/adapter.hpp"
#include "dispatch/attempts.hpp"
#include "dispatch/core.hpp"
#include "message/boxed.hpp"
#include "message/request.hpp"
#include "net/interrupt.hpp"
#include "net/task.hpp"
#include "policy/decide.hpp"
#include "telemetry/access_record.hpp"
#include "upstream/exchange.hpp"
#include "upstream/plan_reader.hpp"
#include "wire/json_scan.hpp"
#include "wire/sse.hpp"

#include <memory>
#include <optional>
#include <string>
#include <string_view>

namespace gw::dispatch {

// The client's body as dispatch sees it; ingress/body implements it.
class body_access
{
public:
    virtual ~body_access() = default;
    [[nodiscard]] virtual upstream::source from() const = 0;
    [[nodiscard]] virtual bool whole() const = 0;
    // Waits until the body is whole. Errors: the client's (gone, too slow, bad), or the interrupt's reason.
    [[nodiscard]] virtual net::task<result<void>> wait_whole() = 0;
    [[nodiscard]] virtual bool replayable() const = 0;
    virtual void drop_copy() = 0; // no other candidate is left
};

class dispatched : public recycled
{
public:
    dispatched(
        core& here,
        std::shared_ptr<const snapshot> now,
        const request& asked,
        const policy::plan& plan,
        body_access& body,
        net::interrupt& stop,
        net::deadline& limit // the request's; disarmed at the first content
    );
    ~dispatched();
    dispatched(const dispatched&) = delete;
    dispatched& operator=(const dispatched&) = delete;

    // Tries candidates until one gives first content.
    //   errors   the most hopeful last answer, or the interrupt's reason (client_gone, stopping)
    [[nodiscard]] net::task<result<void>> begin(net::time_point deadline);
    [[nodiscard]] const adapters::answer_head& answer() const { return answer_; } // once it has begun
    // Nothing of the request's body is needed any more: it is sent, and no other candidate will be asked.
    [[nodiscard]] bool sent() const { return begun_ && !(exchange_ && exchange_->uploading()); }

    // The next bytes of the answer, valid until the next call; of size 0: it is complete.
    //   errors   broken_stream (the upstream broke off), upstream_leak, or the interrupt's reason
    [[nodiscard]] net::task<lean<upstream::plan_reader::block>> next();

    // What next() would give without a wait; nothing: await that.
    [[nodiscard]] std::optional<upstream::plan_reader::block> at_hand();

    // Ends the attempt in progress, whatever its state; then fill() the record. Both REQUIRED before the
    // object goes.
    [[nodiscard]] net::task<void> finish();
    void fill(telemetry::access_record& record);

    // True when the rest of the answer lies in memory: one write will do.
    [[nodiscard]] bool all_buffered() const;
    [[nodiscard]] std::string route() const { return machine_.route(); }
    [[nodiscard]] std::string_view upstream_name() const
    {
        return target_.to != nullptr ? std::string_view(target_.to->name) : std::string_view();
    }

private:
    enum class mode : std::uint8_t { none, raw, events, plan };
    using block = upstream::plan_reader::block;

    [[nodiscard]] net::task<std::optional<verdict>> attempt(const attempts::try_it& what);
    [[nodiscard]] adapters::action_type step(const adapters::event_type& what);
    [[nodiscard]] net::task<std::optional<verdict>> converse();
    [[nodiscard]] net::task<std::optional<verdict>> send(adapters::exchange_request& what);
    // answer.cpp
    [[nodiscard]] net::task<std::optional<verdict>> read_text();
    [[nodiscard]] net::task<std::optional<verdict>> read_whole(bool held);
    [[nodiscard]] net::task<std::optional<verdict>> first_raw();
    [[nodiscard]] net::task<std::optional<verdict>> first_event();
    // Events to be forwarded from what was read last, valid until more is read; of size 0: that was all.
    // Nothing: more has to be read, and told by add_events() (no bytes: the end).
    [[nodiscard]] std::optional<std::expected<block, verdict>> cut_events(bool until_content);
    [[nodiscard]] std::expected<block, verdict> last_event();
    void add_events(std::string_view bytes);
    [[nodiscard]] std::optional<block> first_once(); // the first content, when it was not given yet
    [[nodiscard]] net::task<lean<block>> next_raw();
    [[nodiscard]] net::task<lean<block>> next_events();
    [[nodiscard]] net::task<lean<block>> next_planned();
    [[nodiscard]] std::unexpected<failure> broke(verdict why); // behind the first content
    [[nodiscard]] net::task<std::optional<verdict>> ready_worker();
    [[nodiscard]] net::task<void> room_in(payloads::replay& log);
    [[nodiscard]] net::task<void> pause(net::time_point until); // or until wake() is set, or the interrupt
    [[nodiscard]] net::event& wake();
    [[nodiscard]] std::function<void()> wake_from_afar();
    [[nodiscard]] net::task<void> end_exchange();
    [[nodiscard]] net::task<void> end_upload(); // and the exchange with it
    // The client left, or the gateway stops: the end, and held against nobody.
    [[nodiscard]] bool abandoned() const { return stop_.fired() && stop_.why() != code::timeout; }
    [[nodiscard]] std::unexpected<failure> abandon(net::time_point now);
    void leave(net::time_point now);
    void count_bytes(); // of the attempt in progress, into its line of the story
    [[nodiscard]] bool cut_short(std::string_view bytes, bool last);
    [[nodiscard]] verdict lost(const failure& what);
    void replace_worker(std::string why); // it answers garbage, or without end
    [[nodiscard]] bool leaks(std::string_view bytes) const;
    [[nodiscard]] bool leaks(const verdict& why) const;
    [[nodiscard]] verdict leaked();
    [[nodiscard]] std::optional<std::string> request_text(const adapters::exchange_request& what) const;

    static adapters::wall_time wall() { return net::wall_clock::now(); }
    // What an action in the wrong place means: an adapter's own fault, never the upstream's.
    static verdict misuse(const char* what)
    {
        return {.what = outcome::unavailable, .text = "the gateway's adapter misbehaved", .detail = what};
    }

    core& here_;
    std::shared_ptr<const snapshot> now_;
    const request& asked_;
    const policy::plan& plan_;
    body_access& body_;
    net::interrupt& stop_;
    net::deadline& limit_;
    std::shared_ptr<net::event> wake_; // made when it is first wanted
    attempts machine_;

    // The attempt in progress.
    adapters::target target_;
    std::unique_ptr<adapters::conversation> talk_;
    boxed<upstream::peer> worker_peer_;
    workers::lease worker_;
    std::unique_ptr<upstream::exchange> exchange_;
    adapters::action_type action_;
    adapters::answer_head answer_;
    int status_ = 0;
    std::string text_;                           // an error body, or a JSON document
    std::unique_ptr<payloads::replay> document_; // a JSON document that is too long for `text_`
    const secret_set* secrets_ = nullptr;        // of the upstream
    std::optional<leak_search> search_;          // in what is passed on as it arrives
    boxed<wire::json_scanner> unended_;          // of a JSON answer whose end the framing does not tell
    std::optional<wire::sse_splitter> events_;
    boxed<verdict> failed_event_; // behind events that were passed on just now
    boxed<upstream::plan_reader> out_;
    std::string held_; // events before the first content
    std::string ready_;
    std::string_view read_; // what was read last of the events
    bool read_all_ = false; // and that it was the end
    mode mode_ = mode::none;
    boxed<failure> client_fault_; // the body broke off or cannot be decoded: no upstream is to blame
    bool connected_ = false;
    bool begun_ = false; // the answer's first content went out of begin()
    bool ended_ = false; // the answer is complete
    bool told_ = false;
    std::uint64_t sent_ = 0, received_ = 0; // of earlier exchanges of this attempt
    block first_;
    bool first_given_ = true;
    net::time_point began_{};
};

} // namespace gw::dispatch
