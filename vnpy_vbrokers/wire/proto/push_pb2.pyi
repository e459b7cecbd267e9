from google.protobuf import any_pb2 as _any_pb2
from google.protobuf.internal import containers as _containers
from google.protobuf.internal import enum_type_wrapper as _enum_type_wrapper
from google.protobuf import descriptor as _descriptor
from google.protobuf import message as _message
from typing import ClassVar as _ClassVar, Iterable as _Iterable, Mapping as _Mapping, Optional as _Optional, Union as _Union

DESCRIPTOR: _descriptor.FileDescriptor

class NotifyMsgType(int, metaclass=_enum_type_wrapper.EnumTypeWrapper):
    __slots__ = ()
    TrsStockDeliverMsgType: _ClassVar[NotifyMsgType]
    TradeStockDeliverMsgType: _ClassVar[NotifyMsgType]
    FuturesTradeStockDeliverMsgType: _ClassVar[NotifyMsgType]
    OrderBookNotifyMsgType: _ClassVar[NotifyMsgType]
    BrokerQueueNotifyMsgType: _ClassVar[NotifyMsgType]
    BasicQotNotifyMsgType: _ClassVar[NotifyMsgType]
    TickerNotifyMsgType: _ClassVar[NotifyMsgType]
TrsStockDeliverMsgType: NotifyMsgType
TradeStockDeliverMsgType: NotifyMsgType
FuturesTradeStockDeliverMsgType: NotifyMsgType
OrderBookNotifyMsgType: NotifyMsgType
BrokerQueueNotifyMsgType: NotifyMsgType
BasicQotNotifyMsgType: NotifyMsgType
TickerNotifyMsgType: NotifyMsgType

class HeartBeat(_message.Message):
    __slots__ = ()
    def __init__(self) -> None: ...

class PBNotify(_message.Message):
    __slots__ = ("notifyMsgType", "notifyId", "notifyTime", "payload")
    NOTIFYMSGTYPE_FIELD_NUMBER: _ClassVar[int]
    NOTIFYID_FIELD_NUMBER: _ClassVar[int]
    NOTIFYTIME_FIELD_NUMBER: _ClassVar[int]
    PAYLOAD_FIELD_NUMBER: _ClassVar[int]
    notifyMsgType: NotifyMsgType
    notifyId: str
    notifyTime: int
    payload: _any_pb2.Any
    def __init__(self, notifyMsgType: _Optional[_Union[NotifyMsgType, str]] = ..., notifyId: _Optional[str] = ..., notifyTime: _Optional[int] = ..., payload: _Optional[_Union[_any_pb2.Any, _Mapping]] = ...) -> None: ...

class Security(_message.Message):
    __slots__ = ("dataType", "code")
    DATATYPE_FIELD_NUMBER: _ClassVar[int]
    CODE_FIELD_NUMBER: _ClassVar[int]
    dataType: int
    code: str
    def __init__(self, dataType: _Optional[int] = ..., code: _Optional[str] = ...) -> None: ...

class FutureBasicQotExData(_message.Message):
    __slots__ = ("expiryDate", "expiryDateDistance", "preSettle", "openInterest", "preOpenInterest", "dailyIncrement", "multiplier", "mainContractCode")
    EXPIRYDATE_FIELD_NUMBER: _ClassVar[int]
    EXPIRYDATEDISTANCE_FIELD_NUMBER: _ClassVar[int]
    PRESETTLE_FIELD_NUMBER: _ClassVar[int]
    OPENINTEREST_FIELD_NUMBER: _ClassVar[int]
    PREOPENINTEREST_FIELD_NUMBER: _ClassVar[int]
    DAILYINCREMENT_FIELD_NUMBER: _ClassVar[int]
    MULTIPLIER_FIELD_NUMBER: _ClassVar[int]
    MAINCONTRACTCODE_FIELD_NUMBER: _ClassVar[int]
    expiryDate: str
    expiryDateDistance: int
    preSettle: str
    openInterest: str
    preOpenInterest: str
    dailyIncrement: str
    multiplier: str
    mainContractCode: str
    def __init__(self, expiryDate: _Optional[str] = ..., expiryDateDistance: _Optional[int] = ..., preSettle: _Optional[str] = ..., openInterest: _Optional[str] = ..., preOpenInterest: _Optional[str] = ..., dailyIncrement: _Optional[str] = ..., multiplier: _Optional[str] = ..., mainContractCode: _Optional[str] = ...) -> None: ...

class OptionBasicQotExData(_message.Message):
    __slots__ = ("strikePrice", "openInterest", "expireDate", "premium", "intrinsicValue", "dueDate", "iv", "timeValue", "actualLeverage", "delta", "gamma", "vega", "theta", "rho")
    STRIKEPRICE_FIELD_NUMBER: _ClassVar[int]
    OPENINTEREST_FIELD_NUMBER: _ClassVar[int]
    EXPIREDATE_FIELD_NUMBER: _ClassVar[int]
    PREMIUM_FIELD_NUMBER: _ClassVar[int]
    INTRINSICVALUE_FIELD_NUMBER: _ClassVar[int]
    DUEDATE_FIELD_NUMBER: _ClassVar[int]
    IV_FIELD_NUMBER: _ClassVar[int]
    TIMEVALUE_FIELD_NUMBER: _ClassVar[int]
    ACTUALLEVERAGE_FIELD_NUMBER: _ClassVar[int]
    DELTA_FIELD_NUMBER: _ClassVar[int]
    GAMMA_FIELD_NUMBER: _ClassVar[int]
    VEGA_FIELD_NUMBER: _ClassVar[int]
    THETA_FIELD_NUMBER: _ClassVar[int]
    RHO_FIELD_NUMBER: _ClassVar[int]
    strikePrice: str
    openInterest: str
    expireDate: str
    premium: str
    intrinsicValue: str
    dueDate: str
    iv: str
    timeValue: str
    actualLeverage: str
    delta: str
    gamma: str
    vega: str
    theta: str
    rho: str
    def __init__(self, strikePrice: _Optional[str] = ..., openInterest: _Optional[str] = ..., expireDate: _Optional[str] = ..., premium: _Optional[str] = ..., intrinsicValue: _Optional[str] = ..., dueDate: _Optional[str] = ..., iv: _Optional[str] = ..., timeValue: _Optional[str] = ..., actualLeverage: _Optional[str] = ..., delta: _Optional[str] = ..., gamma: _Optional[str] = ..., vega: _Optional[str] = ..., theta: _Optional[str] = ..., rho: _Optional[str] = ...) -> None: ...

class BasicQot(_message.Message):
    __slots__ = ("security", "isSuspended", "openPrice", "highPrice", "lowPrice", "lastPrice", "lastClosePrice", "priceSpread", "volume", "turnover", "turnoverRate", "amplitude", "secStatus", "listTime", "futureExData", "optionExData", "lotSize", "tradeTime", "marketTime", "stockStatus", "volumeStr", "mktTmType")
    SECURITY_FIELD_NUMBER: _ClassVar[int]
    ISSUSPENDED_FIELD_NUMBER: _ClassVar[int]
    OPENPRICE_FIELD_NUMBER: _ClassVar[int]
    HIGHPRICE_FIELD_NUMBER: _ClassVar[int]
    LOWPRICE_FIELD_NUMBER: _ClassVar[int]
    LASTPRICE_FIELD_NUMBER: _ClassVar[int]
    LASTCLOSEPRICE_FIELD_NUMBER: _ClassVar[int]
    PRICESPREAD_FIELD_NUMBER: _ClassVar[int]
    VOLUME_FIELD_NUMBER: _ClassVar[int]
    TURNOVER_FIELD_NUMBER: _ClassVar[int]
    TURNOVERRATE_FIELD_NUMBER: _ClassVar[int]
    AMPLITUDE_FIELD_NUMBER: _ClassVar[int]
    SECSTATUS_FIELD_NUMBER: _ClassVar[int]
    LISTTIME_FIELD_NUMBER: _ClassVar[int]
    FUTUREEXDATA_FIELD_NUMBER: _ClassVar[int]
    OPTIONEXDATA_FIELD_NUMBER: _ClassVar[int]
    LOTSIZE_FIELD_NUMBER: _ClassVar[int]
    TRADETIME_FIELD_NUMBER: _ClassVar[int]
    MARKETTIME_FIELD_NUMBER: _ClassVar[int]
    STOCKSTATUS_FIELD_NUMBER: _ClassVar[int]
    VOLUMESTR_FIELD_NUMBER: _ClassVar[int]
    MKTTMTYPE_FIELD_NUMBER: _ClassVar[int]
    security: Security
    isSuspended: bool
    openPrice: float
    highPrice: float
    lowPrice: float
    lastPrice: float
    lastClosePrice: float
    priceSpread: float
    volume: int
    turnover: float
    turnoverRate: float
    amplitude: float
    secStatus: int
    listTime: str
    futureExData: FutureBasicQotExData
    optionExData: OptionBasicQotExData
    lotSize: int
    tradeTime: str
    marketTime: str
    stockStatus: str
    volumeStr: str
    mktTmType: int
    def __init__(self, security: _Optional[_Union[Security, _Mapping]] = ..., isSuspended: bool = ..., openPrice: _Optional[float] = ..., highPrice: _Optional[float] = ..., lowPrice: _Optional[float] = ..., lastPrice: _Optional[float] = ..., lastClosePrice: _Optional[float] = ..., priceSpread: _Optional[float] = ..., volume: _Optional[int] = ..., turnover: _Optional[float] = ..., turnoverRate: _Optional[float] = ..., amplitude: _Optional[float] = ..., secStatus: _Optional[int] = ..., listTime: _Optional[str] = ..., futureExData: _Optional[_Union[FutureBasicQotExData, _Mapping]] = ..., optionExData: _Optional[_Union[OptionBasicQotExData, _Mapping]] = ..., lotSize: _Optional[int] = ..., tradeTime: _Optional[str] = ..., marketTime: _Optional[str] = ..., stockStatus: _Optional[str] = ..., volumeStr: _Optional[str] = ..., mktTmType: _Optional[int] = ...) -> None: ...

class BasicQotNotify(_message.Message):
    __slots__ = ("security", "basicQot")
    SECURITY_FIELD_NUMBER: _ClassVar[int]
    BASICQOT_FIELD_NUMBER: _ClassVar[int]
    security: Security
    basicQot: BasicQot
    def __init__(self, security: _Optional[_Union[Security, _Mapping]] = ..., basicQot: _Optional[_Union[BasicQot, _Mapping]] = ...) -> None: ...

class Ticker(_message.Message):
    __slots__ = ("time", "side", "price", "volume", "turnover", "type", "timestamp", "mktTmType")
    TIME_FIELD_NUMBER: _ClassVar[int]
    SIDE_FIELD_NUMBER: _ClassVar[int]
    PRICE_FIELD_NUMBER: _ClassVar[int]
    VOLUME_FIELD_NUMBER: _ClassVar[int]
    TURNOVER_FIELD_NUMBER: _ClassVar[int]
    TYPE_FIELD_NUMBER: _ClassVar[int]
    TIMESTAMP_FIELD_NUMBER: _ClassVar[int]
    MKTTMTYPE_FIELD_NUMBER: _ClassVar[int]
    time: str
    side: int
    price: float
    volume: int
    turnover: float
    type: int
    timestamp: int
    mktTmType: int
    def __init__(self, time: _Optional[str] = ..., side: _Optional[int] = ..., price: _Optional[float] = ..., volume: _Optional[int] = ..., turnover: _Optional[float] = ..., type: _Optional[int] = ..., timestamp: _Optional[int] = ..., mktTmType: _Optional[int] = ...) -> None: ...

class TickerNotify(_message.Message):
    __slots__ = ("security", "ticker")
    SECURITY_FIELD_NUMBER: _ClassVar[int]
    TICKER_FIELD_NUMBER: _ClassVar[int]
    security: Security
    ticker: Ticker
    def __init__(self, security: _Optional[_Union[Security, _Mapping]] = ..., ticker: _Optional[_Union[Ticker, _Mapping]] = ...) -> None: ...

class OrderBook(_message.Message):
    __slots__ = ("level", "price", "volume", "orederCount", "brokeId")
    LEVEL_FIELD_NUMBER: _ClassVar[int]
    PRICE_FIELD_NUMBER: _ClassVar[int]
    VOLUME_FIELD_NUMBER: _ClassVar[int]
    OREDERCOUNT_FIELD_NUMBER: _ClassVar[int]
    BROKEID_FIELD_NUMBER: _ClassVar[int]
    level: int
    price: float
    volume: int
    orederCount: int
    brokeId: str
    def __init__(self, level: _Optional[int] = ..., price: _Optional[float] = ..., volume: _Optional[int] = ..., orederCount: _Optional[int] = ..., brokeId: _Optional[str] = ...) -> None: ...

class OrderBookFullNotify(_message.Message):
    __slots__ = ("security", "side", "orderBookList", "mktTmType")
    SECURITY_FIELD_NUMBER: _ClassVar[int]
    SIDE_FIELD_NUMBER: _ClassVar[int]
    ORDERBOOKLIST_FIELD_NUMBER: _ClassVar[int]
    MKTTMTYPE_FIELD_NUMBER: _ClassVar[int]
    security: Security
    side: int
    orderBookList: _containers.RepeatedCompositeFieldContainer[OrderBook]
    mktTmType: int
    def __init__(self, security: _Optional[_Union[Security, _Mapping]] = ..., side: _Optional[int] = ..., orderBookList: _Optional[_Iterable[_Union[OrderBook, _Mapping]]] = ..., mktTmType: _Optional[int] = ...) -> None: ...

class Broker(_message.Message):
    __slots__ = ("level", "item", "type", "name")
    LEVEL_FIELD_NUMBER: _ClassVar[int]
    ITEM_FIELD_NUMBER: _ClassVar[int]
    TYPE_FIELD_NUMBER: _ClassVar[int]
    NAME_FIELD_NUMBER: _ClassVar[int]
    level: int
    item: str
    type: int
    name: str
    def __init__(self, level: _Optional[int] = ..., item: _Optional[str] = ..., type: _Optional[int] = ..., name: _Optional[str] = ...) -> None: ...

class BrokerNotify(_message.Message):
    __slots__ = ("security", "side", "brokerList")
    SECURITY_FIELD_NUMBER: _ClassVar[int]
    SIDE_FIELD_NUMBER: _ClassVar[int]
    BROKERLIST_FIELD_NUMBER: _ClassVar[int]
    security: Security
    side: int
    brokerList: _containers.RepeatedCompositeFieldContainer[Broker]
    def __init__(self, security: _Optional[_Union[Security, _Mapping]] = ..., side: _Optional[int] = ..., brokerList: _Optional[_Iterable[_Union[Broker, _Mapping]]] = ...) -> None: ...

class TradeStockDeliverNotify(_message.Message):
    __slots__ = ("fundAccount", "stockCode", "stockName", "entrustBs", "businessPrice", "businessAmount", "businessDate", "businessTime", "exchangeType", "entrustStatus", "clientId", "entrustNo", "sumBusinessAmount", "sumBusinessBalance", "originalAmount", "originalPrice", "leftAmount", "entrustPrice", "entrustAmount", "recordNo", "remark", "matchNo")
    FUNDACCOUNT_FIELD_NUMBER: _ClassVar[int]
    STOCKCODE_FIELD_NUMBER: _ClassVar[int]
    STOCKNAME_FIELD_NUMBER: _ClassVar[int]
    ENTRUSTBS_FIELD_NUMBER: _ClassVar[int]
    BUSINESSPRICE_FIELD_NUMBER: _ClassVar[int]
    BUSINESSAMOUNT_FIELD_NUMBER: _ClassVar[int]
    BUSINESSDATE_FIELD_NUMBER: _ClassVar[int]
    BUSINESSTIME_FIELD_NUMBER: _ClassVar[int]
    EXCHANGETYPE_FIELD_NUMBER: _ClassVar[int]
    ENTRUSTSTATUS_FIELD_NUMBER: _ClassVar[int]
    CLIENTID_FIELD_NUMBER: _ClassVar[int]
    ENTRUSTNO_FIELD_NUMBER: _ClassVar[int]
    SUMBUSINESSAMOUNT_FIELD_NUMBER: _ClassVar[int]
    SUMBUSINESSBALANCE_FIELD_NUMBER: _ClassVar[int]
    ORIGINALAMOUNT_FIELD_NUMBER: _ClassVar[int]
    ORIGINALPRICE_FIELD_NUMBER: _ClassVar[int]
    LEFTAMOUNT_FIELD_NUMBER: _ClassVar[int]
    ENTRUSTPRICE_FIELD_NUMBER: _ClassVar[int]
    ENTRUSTAMOUNT_FIELD_NUMBER: _ClassVar[int]
    RECORDNO_FIELD_NUMBER: _ClassVar[int]
    REMARK_FIELD_NUMBER: _ClassVar[int]
    MATCHNO_FIELD_NUMBER: _ClassVar[int]
    fundAccount: str
    stockCode: str
    stockName: str
    entrustBs: str
    businessPrice: str
    businessAmount: str
    businessDate: str
    businessTime: str
    exchangeType: str
    entrustStatus: str
    clientId: str
    entrustNo: str
    sumBusinessAmount: str
    sumBusinessBalance: str
    originalAmount: str
    originalPrice: str
    leftAmount: str
    entrustPrice: str
    entrustAmount: str
    recordNo: str
    remark: str
    matchNo: str
    def __init__(self, fundAccount: _Optional[str] = ..., stockCode: _Optional[str] = ..., stockName: _Optional[str] = ..., entrustBs: _Optional[str] = ..., businessPrice: _Optional[str] = ..., businessAmount: _Optional[str] = ..., businessDate: _Optional[str] = ..., businessTime: _Optional[str] = ..., exchangeType: _Optional[str] = ..., entrustStatus: _Optional[str] = ..., clientId: _Optional[str] = ..., entrustNo: _Optional[str] = ..., sumBusinessAmount: _Optional[str] = ..., sumBusinessBalance: _Optional[str] = ..., originalAmount: _Optional[str] = ..., originalPrice: _Optional[str] = ..., leftAmount: _Optional[str] = ..., entrustPrice: _Optional[str] = ..., entrustAmount: _Optional[str] = ..., recordNo: _Optional[str] = ..., remark: _Optional[str] = ..., matchNo: _Optional[str] = ...) -> None: ...
