"""The lecture as the report tells it: its chapters and items in the order of the notes, in our words.

``N…`` numbers the items. Where the notes slip, the text says what is right.
"""

from __future__ import annotations

from dataclasses import dataclass


@dataclass(frozen=True)
class Item:
    """An item of the notes: ``chinese`` is the lecture's term; ``compare`` names experiments that bear on it.

    ``examples`` are the worked examples that stand under it, whatever else they bear on. With ``sizes``, the numbers of
    parameters of LSTM, GRU and Elman network are told under it.
    """

    number: int
    title: str
    chinese: str
    text: str
    compare: tuple[str, ...] = ()
    sizes: bool = False
    examples: tuple[str, ...] = ()

    @property
    def name(self) -> str:
        """The item as all else names it: "N7"."""
        return f"N{self.number}"


@dataclass(frozen=True)
class Chapter:
    """A chapter of the lecture."""

    anchor: str
    title: str
    items: tuple[Item, ...]


MEMORY = (
    Item(
        1,
        "Slot filling",
        "槽填充",
        "A ticket desk hears “arrive Taipei on November 2nd” and has to fill two slots, destination and time. A "
        "feed-forward network maps one word’s vector to a distribution over slots; the word Taipei gives it one and "
        "the same answer in “arrive Taipei” and in “leave Taipei”. It needs to remember what came before.",
    ),
    Item(
        2,
        "The recurrent network",
        "循环神经网络",
        "The hidden layer’s output is stored, and is a further input at the next step. That is the whole of the "
        "memory, and it is enough to tell the two Taipeis apart.",
        ("tickets_feedforward", "tickets_elman", "slots_feedforward", "slots_elman"),
    ),
    Item(
        3,
        "A recurrent network by hand",
        "",
        "All weights 1, no bias, linear units, memory starting at 0: the inputs [1 1], [1 1], [2 2] give the outputs "
        "[4 4], [12 12], [32 32]. The same input gives a different output the second time, and the order of the "
        "inputs matters.",
        examples=("worked_rnn",),
    ),
    Item(
        4,
        "One network, used at every step",
        "权值共享",
        "There are not as many networks as words: the same weights are used at every step, so a sentence may have any "
        "length, and what is learnt at one place holds at all.",
    ),
    Item(
        5,
        "Elman and Jordan networks",
        "Elman / Jordan 网络",
        "An Elman network stores its hidden layer, a Jordan network its output layer. The lecture argues for Jordan: "
        "the output has a target, so one knows better what is stored. Whether that helps is not settled in the "
        "literature; here it is measured.",
        ("tickets_elman", "tickets_jordan", "slots_elman", "slots_jordan"),
    ),
    Item(
        6,
        "Deep recurrent networks",
        "深层循环网络",
        "Any number of recurrent layers may be stacked, each with a memory of its own.",
        ("slots_lstm", "slots_lstm_deep"),
    ),
    Item(
        7,
        "Bidirectional recurrent networks",
        "双向循环网络",
        "One network reads forward, another backward; both hidden layers feed the output layer and are trained "
        "together. So each output sees the whole input, its own step included.",
        (
            "slots_elman",
            "slots_bielman",
            "slots_lstm",
            "slots_bilstm",
            "slots_gru",
            "slots_bigru",
            "commands_lstm",
            "commands_bilstm",
            "speech_lstm",
            "speech_bilstm",
            "mandarin_lstm",
            "mandarin_bilstm",
        ),
    ),
)
GATES = (
    Item(
        8,
        "Long short-term memory",
        "长短期记忆 LSTM",
        "A cell behind three gates: the input gate says whether a value is written, the forget gate whether the old "
        "one is kept, the output gate whether it is read. So a unit has four inputs, the value and three gate signals, "
        "and one output.",
        ("tickets_elman", "tickets_lstm", "slots_elman", "slots_lstm", "snippets_elman", "snippets_lstm"),
    ),
    Item(
        9,
        "An LSTM by hand",
        "",
        "Weights set by hand make a cell that adds x1 where x2 = 1, resets where x2 = −1, and puts out its content "
        "where x3 = 1. With gates as steep as 100 x − 10 the cell does so almost exactly.",
        examples=("worked_lstm",),
    ),
    Item(
        10,
        "In the place of a neuron",
        "四倍参数",
        "An LSTM unit stands where a neuron would, with four times the parameters, since each of its four inputs has "
        "weights of its own.",
        ("slots_elman", "slots_lstm"),
        sizes=True,
    ),
    Item(
        11,
        "Peepholes",
        "窥视孔",
        "The content of the cell, and not only its output, may also feed the gates at the next step.",
        ("slots_lstm", "slots_lstm_peephole"),
    ),
    Item(
        12,
        "LSTMs in layers",
        "多层 LSTM",
        "The outputs of one layer of LSTM units are the inputs of the next.",
        ("slots_lstm", "slots_lstm_deep"),
    ),
    Item(
        13,
        "The gated recurrent unit",
        "门控循环单元 GRU",
        "Input and forget gate are coupled: the old leaves exactly as the new enters. With two gates instead of three "
        "there are fewer parameters, and training is said to be more robust. Simple network, LSTM and GRU are to be "
        "interchangeable, as they are here: one word in the settings.",
        ("slots_elman", "slots_lstm", "slots_lstm_coupled", "slots_gru", "slots_gru_before", "slots_minimal_gru"),
        sizes=True,
        examples=("coupled_gates",),
    ),
)
TRAINING = (
    Item(
        14,
        "Backpropagation through time",
        "BPTT 时序反向传播",
        "The network is unrolled over the steps; the error goes back through them all, and gradient descent moves the "
        "one set of weights by the sum of what every step asks for.",
    ),
    Item(
        15,
        "A rough error surface",
        "误差曲面",
        "The loss of a recurrent network jumps as it is trained. Its surface over the parameters is either very flat "
        "or very steep: on a plateau nothing moves (the gradient vanishes), and a step off a cliff throws the "
        "parameters far away (it explodes).",
        examples=("error_surface",),
    ),
    Item(
        16,
        "Clipping",
        "梯度裁剪",
        "A gradient beyond a threshold is cut to the threshold. Cut by the norm of all of it, it keeps its direction; "
        "cut value by value, it does not.",
    ),
    Item(
        17,
        "Why gradients explode and vanish",
        "梯度爆炸与消失",
        "One linear neuron with the recurrent weight w, an input of 1 at the first of 1,000 steps: the last output is "
        "w to the power of 999. With w = 1 it is 1, with 1.01 about 20,000, with 0.99 or 0.01 about 0. The same weight "
        "is used again and again, so no single learning rate fits.",
        examples=("power",),
    ),
    Item(
        18,
        "What the LSTM changes",
        "LSTM 与梯度消失",
        "A simple network overwrites its memory at each step. An LSTM multiplies it by the forget gate and adds to it, "
        "so that an influence lasts until the gate closes. That cures vanishing gradients; exploding ones it may "
        "still have.",
        examples=(
            "gradient_lag",
            "adding",
        ),
    ),
    Item(
        19,
        "The forget gate",
        "遗忘门",
        "The first LSTM had none. It is to be open most of the time, which a positive bias at the start sees to.",
        ("slots_lstm", "slots_lstm_no_forget"),
    ),
)
APPLICATIONS = (
    Item(
        20,
        "Sentiment analysis",
        "情感分析",
        "Many to one: a text goes in, word by word or character by character, and one class comes out at the end.",
    ),
    Item(
        21,
        "Key term extraction",
        "关键词抽取",
        "A document goes in, its key terms come out.",
    ),
    Item(
        22,
        "Slot filling, in earnest",
        "槽填充",
        "Many to many, of the same length: each word gets a label. Every cell of the lecture is tried here.",
    ),
    Item(
        23,
        "Speech recognition",
        "语音识别 CTC",
        "The output is shorter than the input. To collapse repeated frames can’t tell 好棒 from 好棒棒; connectionist "
        "temporal classification adds a null, “no label here”, and in training counts every alignment right that "
        "collapses to the transcript. Between two equal symbols a null has to stand.",
        examples=("ctc_paths",),
    ),
    Item(
        24,
        "Translation: sequence to sequence",
        "序列到序列",
        "Neither length is known: “machine learning” becomes 机器学习. One network reads the input, another writes the "
        "output until it puts out a stop symbol.",
    ),
    Item(
        25,
        "Syntactic parsing",
        "句法分析",
        "A sentence goes in, its tree comes out, written as a sequence of brackets.",
    ),
    Item(
        26,
        "Text auto-encoder",
        "文本自编码器",
        "A bag of words loses the order of the words. If a decoder can write the text again from one vector, that "
        "vector holds the order too.",
        examples=("bag_of_words",),
    ),
    Item(
        27,
        "Speech auto-encoder",
        "语音自编码器",
        "A stretch of sound becomes a vector of fixed size, by an encoder and a decoder trained together; spoken "
        "search compares the vectors.",
    ),
)
EXTERNAL = (
    Item(
        28,
        "The Neural Turing Machine",
        "神经图灵机",
        "A network that moves heads over a memory, to read from it and to write to it.",
        examples=("ntm_addressing",),
    ),
    Item(
        29,
        "Reading comprehension by attention",
        "阅读理解",
        "Each sentence of a document is a vector in memory. Given a question, a controller moves a reading head over "
        "the memory, more than once, and then answers.",
        examples=("attention",),
    ),
)
CHAPTERS = (
    Chapter("memory", "Networks with memory", MEMORY),
    Chapter("gates", "LSTM and its kin", GATES),
    Chapter("training", "Training", TRAINING),
    Chapter("applications", "Applications", APPLICATIONS),
    Chapter("external", "Attention and external memory", EXTERNAL),
)
